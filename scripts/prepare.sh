# shellcheck shell=bash
# What the scripts beside this one need before they begin; they source it and call the functions.

heading() { printf '\n\033[1m== %s\033[0m\n' "$*" | { if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9]*m//g'; fi; }; }
die() { printf '%s\n' "$@" >&2; exit 1; }

# To build; then to make lab hosts and work on them.
PACKAGES="build-essential pkg-config libssl-dev openssl zlib1g-dev ca-certificates
          iproute2 iputils-ping openssh-server openssh-client sudo xfsprogs e2fsprogs fdisk util-linux mount procps kmod"
# To make and start the tests' virtual machine (scripts/machine).
MACHINE_PACKAGES=(qemu-system-x86 seabios mmdebstrap debian-archive-keyring)

need_root() {
    [ "$(id -u)" = 0 ] || die "$0 needs root: it makes test hosts of namespaces, loop devices and links." "Run: sudo $0"
}

# Installs Debian packages that are missing, by name.
install_packages() {
    command -v apt-get >/dev/null || die "No apt-get here. Install what these Debian packages hold, then run the steps of $0 by hand:" "  $PACKAGES"
    local package missing=()
    for package in $PACKAGES "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    if [ ${#missing[@]} = 0 ]; then
        echo "Debian packages: all there"
        return
    fi
    echo "apt-get install ${missing[*]}"
    apt-get -qq update || return 1
    # RUNLEVEL=1 keeps packages from starting services: the lab runs its own sshd, and this machine shall not get one.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null || return 1
    case " ${missing[*]} " in
    *" openssh-server "*)
        if command -v systemctl >/dev/null && systemctl disable ssh.service ssh.socket >/dev/null 2>&1; then
            echo "This machine's own SSH server stays off; to have it: systemctl enable --now ssh"
        fi
        ;;
    esac
}

# Puts a cargo into PATH that is new enough for this package, installing one if Debian has it.
find_cargo() {
    local need have candidate home
    need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    # A rustup of the person behind sudo is not in root's PATH.
    for home in "$HOME" "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)"; do
        if [ -x "$home/.cargo/bin/cargo" ]; then
            PATH=$PATH:$home/.cargo/bin
            export RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup}
        fi
    done
    if new_enough "$need"; then return; fi
    have=$(cargo --version 2>/dev/null || echo none)
    echo "cargo here: $have; needed: $need or newer; looking what Debian has"
    apt-get -qq update
    # ` cargo | 1.96.1+dfsg1-2~bpo13+1 | http://deb.debian.org/debian trixie-backports/main amd64 Packages`: the release.
    candidate=$(apt-cache madison cargo | awk -F'[| ]+' -v need="$need" '
        function number(text, parts) { split(text, parts, /[^0-9]+/); return parts[1] * 1000 + parts[2] }
        number($3) >= number(need) { sub("/.*", "", $5); print $5; exit }')
    if [ -n "$candidate" ]; then
        # From one release, also what they depend on.
        echo "apt-get install -t $candidate cargo rustc rustfmt rust-clippy"
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends -t "$candidate" cargo rustc rustfmt rust-clippy >/dev/null || true
    elif apt-cache show rustup >/dev/null 2>&1; then
        echo "apt-get install rustup"
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends rustup >/dev/null
        { rustup toolchain install stable --profile minimal --component rustfmt --component clippy && rustup default stable; } ||
            echo "rustup can't fetch it" >&2
    fi
    hash -r
    new_enough "$need" || die "fettle needs Rust $need or newer, and it can't be had from Debian's packages here." \
        "Either add backports (https://backports.debian.org) and run this again," \
        "or install Rust from https://rustup.rs: curl --proto '=https' -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal" \
        "and run this again."
}

new_enough() {
    local have
    have=$(cargo --version 2>/dev/null | cut -d' ' -f2)
    [ -n "$have" ] && [ "$(printf '%s\n' "$1" "$have" | sort -V | head -n1)" = "$1" ] && echo "cargo $have"
}

# Puts a Go into PATH, installing Debian's if there is none: it builds the tests' control plane. From 1.21 on, a Go that is
# too old for that fetches the one it needs.
find_go() {
    local release
    PATH=$PATH:/usr/local/go/bin
    if ! command -v go >/dev/null; then
        apt-get -qq update
        release=$(apt-cache madison golang-go | awk -F'[| ]+' '{ split($3, v, /[:.~-]/); if (v[2] * 1000 + v[3] >= 1021) { sub("/.*", "", $5); print $5; exit } }')
        [ -z "$release" ] || DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends -t "$release" golang-go >/dev/null || true
        hash -r
    fi
    go version 2>/dev/null || echo "No Go of 1.21 or newer here, and none among Debian's packages: https://go.dev/dl"
}
