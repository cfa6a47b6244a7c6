//! Numbers that no number type holds, as `1e400`: the JSON reader stops there and names only line and column. Here the field is
//! found.

/// What the scan is within.
enum Frame {
    /// The key whose value comes, once it was read.
    Object(Option<String>),
    Array(usize),
}

/// The path of the first number that is too large to be read, as `a.b[2].c`; empty for one that stands alone. `None` if there is
/// none up to where the text stops to be JSON.
pub(super) fn beyond(text: &[u8]) -> Option<String> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' => frames.push(Frame::Object(None)),
            b'[' => frames.push(Frame::Array(0)),
            b'}' | b']' => drop(frames.pop()),
            b',' => match frames.last_mut() {
                Some(Frame::Object(key)) => *key = None,
                Some(Frame::Array(index)) => *index += 1,
                None => return None,
            },
            b'"' => {
                let end = string_end(text, at)?;
                if let Some(Frame::Object(key @ None)) = frames.last_mut() {
                    *key = Some(serde_json::from_slice(&text[at..end]).ok()?);
                }
                at = end;
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let end = number_end(text, at);
                let number = std::str::from_utf8(&text[at..end]).ok()?;
                if number.parse::<f64>().ok()?.is_infinite() {
                    return Some(path(&frames));
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Behind the string that begins here.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Behind the number that begins here.
fn number_end(text: &[u8], start: usize) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let length = text[start..]
        .iter()
        .take_while(|byte| is_part(byte))
        .count();
    start + length
}

fn path(frames: &[Frame]) -> String {
    let mut path = String::new();
    for frame in frames {
        match frame {
            Frame::Object(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key.as_deref().unwrap_or_default());
            }
            Frame::Array(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_found() {
        for (text, found) in [
            (r#"{"amount":1e400}"#, Some("amount")),
            (r#"{"amount": -1e400, "x": 5}"#, Some("amount")),
            (
                r#"{"a":"1e400","b\"":{"c":[1,{"d":2},{"e":9e999}]}}"#,
                Some("b\".c[2].e"),
            ),
            ("1e400", Some("")),
            (r#"{"amount":1e300}"#, None),
            (r#"{"amount":"1e400"}"#, None),
            (r#"{"amount":1-1e400}"#, None),
            (r#"{"a":"#, None),
            (r#"{"a"#, None),
            (r#"{"a\"#, None),
            ("}}]],1", None),
        ] {
            assert_eq!(beyond(text.as_bytes()).as_deref(), found, "{text}");
        }
    }
}
