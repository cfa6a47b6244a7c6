//! What a charge for usage was for, in a line. Nobody says it in words: it is made of what was counted.

use std::fmt::Write as _;

use creditservice_ledger::{Description, Line};

/// The most bytes: a description has no room for more than 1024, and nobody reads them.
const MOST: usize = 600;

/// As `vm-… 3600 s × 2 vcpu, 4096 memory_mib`; what there is no room for is left out. Nothing of no lines.
pub(crate) fn of(lines: &[Line]) -> Option<Description> {
    let mut text = String::new();
    let mut before: Option<&Line> = None;
    for line in lines {
        let piece = piece(line, before);
        if text.len() + piece.len() > MOST {
            text.push_str(", …");
            break;
        }
        text.push_str(&piece);
        before = Some(line);
    }
    Description::new(text).ok()
}

/// What a line adds to what stands there already.
fn piece(line: &Line, before: Option<&Line>) -> String {
    let seconds = |line: &Line| line.usage.interval.end() - line.usage.interval.start();
    let is_same = before.map(|before| before.usage.resource_id == line.usage.resource_id);
    let is_as_long = before.is_some_and(|before| seconds(before) == seconds(line));
    let mut piece = String::new();
    // Writing to a String cannot fail.
    let _ = match is_same {
        None => write!(piece, "{} {} s × ", line.usage.resource_id, seconds(line)),
        Some(true) if is_as_long => write!(piece, ", "),
        Some(true) => write!(piece, "; {} s × ", seconds(line)),
        Some(false) => write!(piece, "; {} {} s × ", line.usage.resource_id, seconds(line)),
    };
    let _ = write!(piece, "{} {}", line.usage.quantity.get(), line.usage.sku);
    piece
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn line(resource: &str, sku: &str, seconds: i64, quantity: u64) -> Line {
        serde_json::from_value(json!({
            "usage": {
                "resource_id": resource, "sku": sku, "quantity": quantity,
                "interval": [1_800_000_000, 1_800_000_000 + seconds],
            },
            "exact": [1, "0"], "posted": 1, "carry": [0, "0"],
        }))
        .unwrap()
    }

    fn said(lines: &[Line]) -> String {
        of(lines).unwrap().as_str().to_owned()
    }

    #[test]
    fn what_was_used_is_said_in_a_line() {
        let of_vm = |sku, quantity| line("vm-1", sku, 3600, quantity);
        assert_eq!(said(&[of_vm("vcpu", 2)]), "vm-1 3600 s × 2 vcpu");
        let all = [
            of_vm("vcpu", 2),
            of_vm("memory_mib", 4096),
            line("vm-1", "disk_gib", 60, 10),
            line("vm-2", "disk_gib", 60, 5),
        ];
        assert_eq!(
            said(&all),
            "vm-1 3600 s × 2 vcpu, 4096 memory_mib; 60 s × 10 disk_gib; vm-2 60 s × 5 disk_gib"
        );
        assert!(of(&[]).is_none());
    }

    #[test]
    fn it_has_an_end() {
        let long = "r".repeat(250);
        let many: Vec<Line> = (1..=100)
            .map(|seconds| line(&long, "vcpu", seconds, 1))
            .collect();
        let said = said(&many);
        assert!(said.len() < MOST + 10 && said.ends_with(", …"), "{said}");
    }
}
