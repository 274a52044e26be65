//! Loop devices by the kernel's own interface (`linux/loop.h`).

use nix::libc;
use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};

const LOOP_CLR_FD: libc::Ioctl = 0x4C01;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
/// `linux/fs.h`
const BLKROSET: libc::Ioctl = 0x125D;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
/// The device lets go of its file when the last one who has it open does.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// How often another one may snatch the free device from us before we give up.
const TRIES: usize = 100;

#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// An attached loop device. It stays attached as long as this (or anyone) has it open.
#[derive(Debug)]
pub struct Loop {
    /// The device, open.
    pub device: File,
    /// Its number: `/dev/loopN`, and its minor number.
    pub number: u32,
}

/// Makes a sparse file of `bytes` and attaches it to a free loop device.
///
/// # Errors
/// What the system says about the file or the device.
pub fn attach(image: &Path, bytes: u64) -> io::Result<Loop> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(image)?;
    file.set_len(bytes)?;
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    for _ in 0..TRIES {
        // SAFETY: the request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        let number = u32::try_from(number).map_err(|_| io::Error::last_os_error())?;
        let device = OpenOptions::new().read(true).write(true).open(node(number)?)?;
        match configure(device.as_raw_fd(), file.as_raw_fd()) {
            Ok(()) => {
                // A device keeps `blockdev --setro` of whoever had it before.
                let writable: c_int = 0;
                // SAFETY: the request reads one int.
                check(unsafe { libc::ioctl(device.as_raw_fd(), BLKROSET, &raw const writable) })?;
                return Ok(Loop { device, number });
            }
            Err(why) if why.raw_os_error() == Some(libc::EBUSY) => {}
            Err(why) => return Err(why),
        }
    }
    Err(io::Error::other("every free loop device was taken by someone else first"))
}

fn configure(device: RawFd, file: RawFd) -> io::Result<()> {
    let config = LoopConfig {
        fd: u32::try_from(file).map_err(io::Error::other)?,
        block_size: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_AUTOCLEAR,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: `config` has the layout of `struct loop_config` and lives through the call.
    check(unsafe { libc::ioctl(device, LOOP_CONFIGURE, &raw const config) })
}

/// The device's node; made where no devtmpfs makes it.
fn node(number: u32) -> io::Result<PathBuf> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let path = PathBuf::from(format!("/dev/loop{number}"));
    if !path.exists() {
        mknod(&path, SFlag::S_IFBLK, Mode::from_bits_truncate(0o660), makedev(7, number.into()))?;
    }
    Ok(path)
}

/// Takes swap off a device and lets go of its file. Nothing to do is no error.
///
/// # Errors
/// The device is still held, by a mount for example.
pub fn detach(device: &Path) -> io::Result<()> {
    let path = std::ffi::CString::new(device.as_os_str().as_encoded_bytes())?;
    // A host may have died with swap on its disk; the kernel finds it by device, whatever the path was.
    // SAFETY: a valid C string; failing (no swap there) is the common case.
    unsafe { libc::swapoff(path.as_ptr()) };
    let device = match File::open(device) {
        Ok(device) => device,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(why),
    };
    // SAFETY: the request takes no argument.
    match check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD) }) {
        Err(why) if why.raw_os_error() == Some(libc::ENXIO) => Ok(()),
        result => result,
    }
}

fn check(result: c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
