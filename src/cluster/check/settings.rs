//! What stands inside the sections of AIStore's own configuration, from a table of its fields.
//!
//! Names, types and limits are those of release v5.0: `ClusterConfig` and the `Validate` functions in cmn/config.go of NVIDIA/aistore.

use crate::cluster::forms::go_seconds;
use crate::cluster::resolve::Resolved;
use crate::cluster::value::shown;
use crate::diag::{Diagnostic, Diagnostics, nearest};
use crate::yaml::{Node, Value as Yaml};

/// What a field takes.
enum Kind {
    Flag,
    /// From the first to the second; zero, too, where AIStore puts its default in its place.
    Whole(i64, i64),
    /// So many seconds at least; `0s` too if that is 0.
    Time(f64),
    /// Text such as `512mb`.
    Size,
    Text,
    List,
    /// Not looked into: what a provider or a user names freely.
    Free,
    Section(&'static [(&'static str, Kind)]),
}
use Kind::{Flag, Free, List, Section, Size, Text, Time, Whole};

const ANY: Kind = Whole(i64::MIN, i64::MAX);
/// From zero.
const MANY: Kind = Whole(0, i64::MAX);
const PERCENT: Kind = Whole(0, 100);
const TIME: Kind = Time(0.0);

/// The sections; what stands in those that are not here is passed on as it is.
const TABLE: &[(&str, Kind)] = &[
    ("arch", Section(&[("compression", Text), ("bundle_multiplier", MANY), ("burst_buffer", MANY)])),
    (
        "auth",
        Section(&[
            ("client_auth_required", Flag),
            ("signature", Section(&[("key", Text), ("method", Text)])),
            ("required_claims", Section(&[("aud", List)])),
            (
                "oidc",
                Section(&[
                    ("allowed_iss", List),
                    ("issuer_ca_bundle", Text),
                    ("jwks_cache", Section(&[("min_rotation_refresh", TIME), ("min_background_refresh", TIME)])),
                ]),
            ),
            (
                "intra_cluster",
                Section(&[
                    ("node_join_secret_path", Text),
                    ("ttl", TIME),
                    ("nonce_window", TIME),
                    ("rotation_grace", TIME),
                    ("request_auth", Flag),
                ]),
            ),
        ]),
    ),
    (
        "checksum",
        Section(&[
            ("type", Text),
            ("validate_cold_get", Flag),
            ("validate_warm_get", Flag),
            ("validate_obj_move", Flag),
            ("enable_read_range", Flag),
        ]),
    ),
    (
        "chunks",
        Section(&[
            ("objsize_limit", Size),
            ("max_monolithic_size", Size),
            ("chunk_size", Size),
            ("checkpoint_every", ANY),
            ("flags", MANY),
        ]),
    ),
    ("client", Section(&[("client_timeout", TIME), ("client_long_timeout", TIME), ("list_timeout", TIME)])),
    (
        "disk",
        Section(&[
            ("disk_util_low_wm", PERCENT),
            ("disk_util_high_wm", PERCENT),
            ("disk_util_max_wm", PERCENT),
            ("iostat_time_long", TIME),
            ("iostat_time_short", TIME),
            ("iostat_time_smooth", TIME),
        ]),
    ),
    (
        "ec",
        Section(&[
            ("objsize_limit", ANY),
            ("data_slices", MANY),
            ("parity_slices", MANY),
            ("enabled", Flag),
            ("disk_only", Flag),
            ("compression", Text),
            ("bundle_multiplier", MANY),
            ("burst_buffer", MANY),
        ]),
    ),
    ("fshc", Section(&[("test_files", MANY), ("error_limit", MANY), ("io_err_limit", MANY), ("io_err_time", TIME), ("enabled", Flag)])),
    (
        "keepalivetracker",
        Section(&[
            ("proxy", Section(&[("name", Text), ("interval", TIME), ("factor", Whole(0, 10))])),
            ("target", Section(&[("name", Text), ("interval", TIME), ("factor", Whole(0, 10))])),
            ("num_retries", MANY),
            ("retry_factor", Whole(0, 255)),
        ]),
    ),
    (
        "log",
        Section(&[
            ("level", Free),
            // Looked at with the space that pods ask for.
            ("max_total", Free),
            ("max_size", Size),
            ("flush_time", TIME),
            ("stats_time", TIME),
            ("to_stderr", Flag),
        ]),
    ),
    ("lru", Section(&[("dont_evict_time", TIME), ("capacity_upd_time", TIME), ("batch_size", MANY), ("enabled", Flag)])),
    (
        "memsys",
        Section(&[
            ("min_free", Size),
            ("default_buf", Size),
            ("to_gc", Size),
            ("hk_time", TIME),
            ("min_pct_total", Whole(0, 95)),
            ("min_pct_free", Whole(0, 95)),
        ]),
    ),
    ("mirror", Section(&[("copies", Whole(0, 32)), ("burst_buffer", MANY), ("enabled", Flag)])),
    (
        "net",
        Section(&[
            ("l4", Section(&[("proto", Text), ("sndrcv_buf_size", MANY)])),
            ("use_ipv6", Flag),
            (
                "http",
                Section(&[
                    ("server_crt", Text),
                    ("server_key", Text),
                    ("client_ca_tls", Text),
                    ("client_auth_tls", Whole(0, 4)),
                    ("domain_tls", Text),
                    ("idle_conn_time", TIME),
                    ("backend_idle_conn_time", TIME),
                    ("idle_conns_per_host", MANY),
                    ("idle_conns", MANY),
                    ("write_buffer_size", MANY),
                    ("read_buffer_size", MANY),
                    ("use_https", Flag),
                    ("skip_verify", Flag),
                    ("chunked_transfer", Flag),
                    (
                        "pub",
                        Section(&[("server_crt", Text), ("server_key", Text), ("client_ca_tls", Text), ("client_auth_tls", Whole(0, 4))]),
                    ),
                ]),
            ),
        ]),
    ),
    ("periodic", Section(&[("stats_time", TIME), ("retry_sync_time", TIME), ("notif_time", TIME)])),
    ("proxy", Section(&[("primary_url", Text), ("original_url", Text), ("discovery_url", Text), ("non_electable", Flag)])),
    (
        "rate_limit",
        Section(&[
            (
                "backend",
                Section(&[("per_op_max_tokens", Text), ("interval", TIME), ("max_tokens", MANY), ("enabled", Flag), ("num_retries", MANY)]),
            ),
            (
                "frontend",
                Section(&[("per_op_max_tokens", Text), ("interval", TIME), ("max_tokens", MANY), ("enabled", Flag), ("burst_size", MANY)]),
            ),
        ]),
    ),
    (
        "rebalance",
        Section(&[
            ("dest_retry_time", TIME),
            ("enabled", Flag),
            ("compression", Text),
            ("bundle_multiplier", MANY),
            ("burst_buffer", MANY),
        ]),
    ),
    ("resilver", Section(&[("enabled", Flag)])),
    (
        "space",
        Section(&[
            ("cleanupwm", PERCENT),
            ("lowwm", PERCENT),
            ("highwm", PERCENT),
            ("out_of_space", PERCENT),
            ("batch_size", MANY),
            ("dont_cleanup_time", TIME),
        ]),
    ),
    ("tcb", Section(&[("compression", Text), ("bundle_multiplier", MANY), ("burst_buffer", MANY)])),
    ("tco", Section(&[("compression", Text), ("bundle_multiplier", MANY), ("burst_buffer", MANY)])),
    (
        "timeout",
        Section(&[
            ("cplane_operation", Time(0.01)),
            ("max_keepalive", TIME),
            ("max_host_busy", Time(10.0)),
            ("startup_time", Time(30.0)),
            ("join_startup_time", TIME),
            ("send_file_time", Time(60.0)),
            ("ec_streams_time", Free),
            ("object_md", TIME),
            ("cold_get_conflict", TIME),
        ]),
    ),
    (
        "tracing",
        Section(&[
            ("exporter_endpoint", Text),
            ("exporter_auth", Section(&[("token_header", Text), ("token_file", Text)])),
            ("service_name_prefix", Text),
            ("attributes", Free),
            ("sampler_probability", Text),
            ("enabled", Flag),
            ("skip_verify", Flag),
        ]),
    ),
    (
        "transport",
        Section(&[
            ("max_header", MANY),
            ("burst_buffer", MANY),
            ("idle_teardown", TIME),
            ("quiescent", TIME),
            ("lz4_block", Size),
            ("lz4_frame_checksum", Flag),
        ]),
    ),
    ("versioning", Section(&[("enabled", Flag), ("validate_warm_get", Flag), ("synchronize", Flag)])),
    ("write_policy", Section(&[("data", Text), ("md", Text)])),
];

pub fn check(r: &Resolved, out: &mut Diagnostics) {
    let Some(map) = r.cluster.config.written().and_then(Node::as_map) else { return };
    // Other releases may have fields that this one has not.
    let known = super::names::release(&r.cluster.images.aisnode) == Some("v5.0");
    for (key, value) in map.iter() {
        let name = key.key_text();
        if let Some((_, kind)) = TABLE.iter().find(|(section, _)| *section == name) {
            look(&format!("config.{name}"), value, kind, known, out);
        }
    }
}

fn look(path: &str, node: &Node, kind: &Kind, known: bool, out: &mut Diagnostics) {
    if let Section(fields) = kind {
        let Some(map) = node.as_map() else {
            out.push(Diagnostic::error(&node.loc, format!("`{path}` must be a mapping, not {}", shown(node))));
            return;
        };
        for (key, value) in map.iter() {
            let name = key.key_text();
            if let Some((_, kind)) = fields.iter().find(|(field, _)| *field == name) {
                look(&format!("{path}.{name}"), value, kind, known, out);
                continue;
            }
            let names = || fields.iter().map(|(field, _)| *field);
            let text = format!("AIStore 5.0 has no `{path}.{name}`");
            let d = if known { Diagnostic::error(&key.loc, text) } else { Diagnostic::warning(&key.loc, text) };
            out.push(match nearest(&name, names()) {
                Some(near) => d.label(format!("did you mean `{near}`?")),
                None => d.help(format!("what it has there: {}", names().collect::<Vec<_>>().join(", "))),
            });
        }
        return;
    }
    if let Some(wanted) = wrong(node, kind) {
        out.push(Diagnostic::error(&node.loc, format!("`{path}` must be {wanted}, not {}", shown(node))));
    }
}

/// What should stand there instead; `None`: it is right.
fn wrong(node: &Node, kind: &Kind) -> Option<String> {
    let text = node.as_str();
    match (kind, &node.value) {
        (Flag, Yaml::Bool(_)) | (List, Yaml::Seq(_)) | (Free | Section(_), _) | (Text, Yaml::Str(_)) => None,
        (Whole(low, high), Yaml::Int(i)) if (low..=high).contains(&i) => None,
        (Time(least), _) if text.and_then(go_seconds).is_some_and(|s| s >= *least) => None,
        (Size, _) if text.is_some() && crate::cluster::objects::log_bytes(&node.to_json()).is_some() => None,
        (Flag, _) => Some("true or false".into()),
        (List, _) => Some("a list".into()),
        (Text, _) => Some("text".into()),
        (Size, _) => Some("a size such as `512mb`".into()),
        (Whole(i64::MIN, _), _) => Some("a whole number".into()),
        (Whole(low, i64::MAX), _) => Some(format!("a whole number from {low}")),
        (Whole(low, high), _) => Some(format!("a whole number from {low} to {high}")),
        (Time(least), _) if *least > 0.0 => Some(format!("a time such as `90s`, and at least {least} s")),
        (Time(_), _) => Some("a time such as `90s`".into()),
    }
}
