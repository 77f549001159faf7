//! Text from files that are not trusted. A control character in it could move the cursor of a terminal
//! and overwrite a verdict.

use std::borrow::Cow;

/// The maximum length of a name in bytes.
const MAX_NAME: usize = 64;

/// The text with each character escaped that is not printable.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return text.into();
    }
    let escape = |symbol: char| {
        if is_printable(symbol) {
            String::from(symbol)
        } else {
            symbol.escape_debug().to_string()
        }
    };
    text.chars().map(escape).collect::<String>().into()
}

/// Checks the name of a scope in a file: a short line of ASCII characters with single spaces, so that no
/// name looks like more lines of the output.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_line = name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_line && !name.contains("  ") && name.len() <= MAX_NAME {
        return Ok(());
    }
    let start: String = name.chars().take(MAX_NAME).collect();
    Err(format!(
        "the name of the scope is not a short line of ASCII text: {start:?}"
    ))
}

/// Whether a debug string contains the character as it is. Quotes and backslashes are printable, though
/// they are escaped there.
fn is_printable(symbol: char) -> bool {
    matches!(symbol, '"' | '\'' | '\\') || symbol.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_print_is_escaped() {
        for text in ["", "a \"quoted\" \\ 'name'", "größer: 状態"] {
            assert!(matches!(escaped(text), Cow::Borrowed(same) if same == text));
        }
        assert_eq!(
            escaped("a\n\r\t\x1b[1A\u{9b}2K\u{7f}\u{202e}z"),
            "a\\n\\r\\t\\u{1b}[1A\\u{9b}2K\\u{7f}\\u{202e}z"
        );
    }

    #[test]
    fn names_are_short_lines() {
        for name in ["elections-4", "reads, one entry a message"] {
            check_name(name).expect("a name");
        }
        let long = "x".repeat(MAX_NAME + 1);
        for name in [&long, "crashes  2", "a\nb", "\x1b[8m", "größer", "a\u{9b}b"] {
            let why = check_name(name).expect_err("refused");
            assert!(!why.chars().any(char::is_control), "{why}");
        }
    }
}
