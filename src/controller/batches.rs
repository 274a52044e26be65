//! `serial`: a play's hosts in batches.

use crate::diag::Diagnostic;
use crate::yaml::{Node, Value};

/// Splits `hosts` as `serial` says: a number, a percentage, or a list of these whose last one repeats.
pub fn batches(hosts: &[String], serial: &[Node]) -> Result<Vec<Vec<String>>, Diagnostic> {
    if serial.is_empty() || hosts.is_empty() {
        return Ok(vec![hosts.to_vec()]);
    }
    let sizes = serial.iter().map(|node| size(node, hosts.len())).collect::<Result<Vec<_>, _>>()?;
    let mut left = hosts;
    let mut all = vec![];
    let mut sizes = sizes.iter().copied();
    let mut current = sizes.next().unwrap_or(hosts.len());
    while !left.is_empty() {
        let (batch, rest) = left.split_at(current.min(left.len()));
        all.push(batch.to_vec());
        left = rest;
        current = sizes.next().unwrap_or(current);
    }
    Ok(all)
}

fn size(node: &Node, hosts: usize) -> Result<usize, Diagnostic> {
    let wrong = || {
        Diagnostic::error(&node.loc, format!("`serial` must be a number of hosts or a percentage, not {}", node.to_json()))
            .help("for example `serial: 1`, `serial: \"30%\"` or `serial: [1, 5, \"20%\"]`")
    };
    match &node.value {
        Value::Int(n) => match usize::try_from(*n) {
            // Ansible: 0 (or less) means all at once.
            Ok(0) | Err(_) => Ok(hosts),
            Ok(n) => Ok(n),
        },
        Value::Str(text) => match text.trim().strip_suffix('%') {
            // At least one host, and Ansible rounds down.
            Some(percent) => percent.trim().parse::<f64>().map(|p| ((p / 100.0 * hosts as f64) as usize).max(1)).map_err(|_| wrong()),
            None => text.trim().parse::<usize>().map(|n| if n == 0 { hosts } else { n }).map_err(|_| wrong()),
        },
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Loc;

    fn sizes(n: usize, serial: &[Value]) -> Vec<usize> {
        let hosts: Vec<String> = (0..n).map(|i| format!("h{i}")).collect();
        let serial: Vec<Node> = serial.iter().map(|v| Node::new(v.clone(), Loc::outside("t"))).collect();
        batches(&hosts, &serial).unwrap().iter().map(Vec::len).collect()
    }

    #[test]
    fn serial_means_what_ansible_means() {
        assert_eq!(sizes(5, &[]), [5]);
        assert_eq!(sizes(5, &[Value::Int(2)]), [2, 2, 1]);
        assert_eq!(sizes(10, &[Value::Str("30%".into())]), [3, 3, 3, 1]);
        assert_eq!(sizes(10, &[Value::Int(1), Value::Int(4)]), [1, 4, 4, 1]);
        assert_eq!(sizes(3, &[Value::Str("10%".into())]), [1, 1, 1]);
        assert_eq!(sizes(3, &[Value::Int(0)]), [3]);
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        let hosts = vec!["a".to_owned()];
        let node = Node::text("many", Loc::new("p.yml", 3, 11));
        assert!(batches(&hosts, &[node]).unwrap_err().to_string().starts_with("p.yml:3:11: `serial` must be"));
    }
}
