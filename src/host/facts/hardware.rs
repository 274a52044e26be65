//! Processors, memory, disks, mounts, and what the board says of itself.

use super::{line, set};
use crate::host::View;
use serde_json::{Map, Value as Json, json};
use std::path::Path;

/// Gathers them.
pub fn gather(view: &dyn View, facts: &mut Map<String, Json>) {
    memory(facts);
    processors(view, facts);
    set(facts, "devices", devices(view));
    set(facts, "mounts", mounts(view));
    for (fact, file) in [
        ("bios_date", "bios_date"),
        ("bios_version", "bios_version"),
        ("board_name", "board_name"),
        ("board_vendor", "board_vendor"),
        ("product_name", "product_name"),
        ("product_version", "product_version"),
        ("product_serial", "product_serial"),
        ("product_uuid", "product_uuid"),
        ("system_vendor", "sys_vendor"),
        ("chassis_vendor", "chassis_vendor"),
    ] {
        set(facts, fact, line(view, &format!("/sys/class/dmi/id/{file}")).unwrap_or_else(|| "NA".into()));
    }
}

fn memory(facts: &mut Map<String, Json>) {
    let Ok(mut system) = sysinfo::System::new() else { return };
    system.refresh_memory();
    let mb = |bytes: u64| bytes >> 20;
    let (total, free, available) = (mb(system.total_memory()), mb(system.free_memory()), mb(system.available_memory()));
    let (swap, swap_free) = (mb(system.total_swap()), mb(system.free_swap()));
    for (name, number) in [("memtotal_mb", total), ("memfree_mb", free), ("swaptotal_mb", swap), ("swapfree_mb", swap_free)] {
        set(facts, name, number);
    }
    facts.insert(
        "memory_mb".into(),
        json!({
            "real": {"total": total, "free": free, "used": total.saturating_sub(free)},
            "nocache": {"free": available, "used": total.saturating_sub(available)},
            "swap": {"total": swap, "free": swap_free, "used": swap.saturating_sub(swap_free), "cached": 0},
        }),
    );
}

fn processors(view: &dyn View, facts: &mut Map<String, Json>) {
    let text = line(view, "/proc/cpuinfo").unwrap_or_default();
    let mut list = vec![];
    let mut sockets: Vec<&str> = vec![];
    let mut cores: Vec<(String, String)> = vec![];
    let mut socket = "0";
    for entry in text.lines() {
        let Some((key, value)) = entry.split_once(':') else { continue };
        let value = value.trim();
        match key.trim() {
            "processor" => list.push(json!(value)),
            "vendor_id" | "model name" => list.push(json!(value)),
            "physical id" => {
                socket = value;
                if !sockets.contains(&value) {
                    sockets.push(value);
                }
            }
            "core id" => {
                let core = (socket.to_owned(), value.to_owned());
                if !cores.contains(&core) {
                    cores.push(core);
                }
            }
            _ => {}
        }
    }
    let vcpus = text.lines().filter(|l| l.starts_with("processor")).count().max(1);
    let count = sockets.len().max(1);
    let per_socket = if cores.is_empty() { (vcpus / count).max(1) } else { (cores.len() / count).max(1) };
    let nproc = std::thread::available_parallelism().map_or(vcpus, std::num::NonZero::get);
    set(facts, "processor", list);
    set(facts, "processor_count", count);
    set(facts, "processor_cores", per_socket);
    set(facts, "processor_threads_per_core", (vcpus / (count * per_socket)).max(1));
    set(facts, "processor_vcpus", vcpus);
    set(facts, "processor_nproc", nproc);
}

/// Bytes as Ansible writes sizes of devices: `9.10 TB`.
fn size(bytes: u64) -> String {
    let units = [("TB", 1u64 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];
    match units.iter().find(|(_, u)| bytes >= *u) {
        Some((unit, factor)) => format!("{:.2} {unit}", bytes as f64 / *factor as f64),
        None => format!("{bytes}.00 Bytes"),
    }
}

fn devices(view: &dyn View) -> Json {
    let root = "/sys/block";
    let mut all = Map::new();
    let links = links(view);
    for name in view.list(Path::new(root)).unwrap_or_default() {
        let get = |file: &str| line(view, &format!("{root}/{name}/{file}"));
        let sectors: u64 = get("size").and_then(|s| s.parse().ok()).unwrap_or(0);
        // As Ansible: devices without any size (unused loop devices) are left out.
        if sectors == 0 && name.starts_with("loop") {
            continue;
        }
        let list = |folder: &str| view.list(Path::new(&format!("{root}/{name}/{folder}"))).unwrap_or_default();
        let mut partitions = Map::new();
        for part in list("").into_iter().filter(|p| get(&format!("{p}/partition")).is_some()) {
            let part_sectors: u64 = get(&format!("{part}/size")).and_then(|s| s.parse().ok()).unwrap_or(0);
            partitions.insert(
                part.clone(),
                json!({
                    "start": get(&format!("{part}/start")), "sectors": part_sectors.to_string(), "sectorsize": 512, "size": size(part_sectors * 512),
                    "holders": list(&format!("{part}/holders")), "links": links_of(&links, &part),
                }),
            );
        }
        let scheduler = get("queue/scheduler")
            .and_then(|s| s.split_once('[').and_then(|(_, r)| r.split_once(']')).map(|(m, _)| m.to_owned()))
            .unwrap_or_default();
        all.insert(
            name.clone(),
            json!({
                "size": size(sectors * 512), "sectors": sectors.to_string(),
                "sectorsize": get("queue/logical_block_size").unwrap_or_else(|| "512".into()),
                "model": get("device/model"), "vendor": get("device/vendor"),
                "serial": get("serial").or_else(|| get("device/serial")),
                "wwn": get("wwid").or_else(|| get("device/wwid")),
                "rotational": get("queue/rotational").unwrap_or_default(), "removable": get("removable").unwrap_or_default(),
                "support_discard": get("queue/discard_granularity").unwrap_or_default(),
                "scheduler_mode": scheduler, "holders": list("holders"), "partitions": partitions, "links": links_of(&links, &name),
                "virtual": u8::from(view.read_link(Path::new(&format!("{root}/{name}"))).is_ok_and(|l| l.to_string_lossy().contains("/virtual/"))),
            }),
        );
    }
    Json::Object(all)
}

/// All names in `/dev/disk/by-*` and the devices they mean: (kind, name, device).
fn links(view: &dyn View) -> Vec<(&'static str, String, String)> {
    let mut all = vec![];
    for (kind, folder) in [("ids", "by-id"), ("labels", "by-label"), ("uuids", "by-uuid")] {
        let folder = Path::new("/dev/disk").join(folder);
        for name in view.list(&folder).unwrap_or_default() {
            if let Ok(target) = view.read_link(&folder.join(&name)) {
                let device = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                all.push((kind, name, device));
            }
        }
    }
    all
}

fn links_of(links: &[(&'static str, String, String)], device: &str) -> Json {
    let of = |kind: &str| -> Vec<&str> { links.iter().filter(|(k, _, d)| *k == kind && d == device).map(|(_, n, _)| n.as_str()).collect() };
    json!({"ids": of("ids"), "labels": of("labels"), "uuids": of("uuids"), "masters": []})
}

fn mounts(view: &dyn View) -> Json {
    let links = links(view);
    let mut all = vec![];
    for mount in view.mounts().unwrap_or_default() {
        // As Ansible: what has a device behind it, and network filesystems.
        if !mount.source.starts_with('/') && !mount.source.contains(":/") {
            continue;
        }
        let device = mount.source.rsplit('/').next().unwrap_or_default();
        let uuid = links.iter().find(|(k, _, d)| *k == "uuids" && d == device).map_or("N/A", |(_, n, _)| n.as_str());
        let mut entry = json!({"mount": mount.target, "device": mount.source, "fstype": mount.fstype, "options": mount.options.join(","), "uuid": uuid, "dump": 0, "passno": 0});
        if let Ok(stat) = nix::sys::statvfs::statvfs(&mount.target) {
            let (block, total, available) = (stat.fragment_size(), stat.blocks(), stat.blocks_available());
            let (inodes, inodes_free) = (stat.files(), stat.files_available());
            for (name, number) in [
                ("size_total", total * block),
                ("size_available", available * block),
                ("block_size", stat.block_size()),
                ("block_total", total),
                ("block_available", available),
                ("block_used", total - available.min(total)),
                ("inode_total", inodes),
                ("inode_available", inodes_free),
                ("inode_used", inodes - inodes_free.min(inodes)),
            ] {
                entry[name] = number.into();
            }
        }
        all.push(entry);
    }
    Json::Array(all)
}
