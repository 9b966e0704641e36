//! `Header` and `RequestHeader` as edits: `set Name value`, `add …`, `append …`, `unset Name`.

use super::tree::Directive;

/// The directive as an edit.
///
/// # Errors
/// Why it cannot be one.
pub fn edit(directive: &Directive) -> Result<String, String> {
    let mut words = directive.words.iter().map(String::as_str).peekable();
    let condition =
        |word: &&str| word.eq_ignore_ascii_case("always") || word.eq_ignore_ascii_case("onsuccess");
    if directive.is("Header") {
        // Both tables are one here: what is set, is set in every answer of a target.
        let _ = words.next_if(condition);
    }
    let action = words.next().unwrap_or_default().to_ascii_lowercase();
    let name = words.next().unwrap_or_default().trim_end_matches(':');
    if name.is_empty() {
        return Err("names no header".to_owned());
    }
    let value = match action.as_str() {
        "unset" => None,
        "set" | "add" | "append" => Some(words.next().unwrap_or_default()),
        _ => {
            return Err(format!("{action} has no equal here; set, add, append and unset do"));
        }
    };
    if let Some(condition) = words.next() {
        return Err(format!("{condition} has no equal here; an edit counts for every message"));
    }
    match value {
        None => Ok(format!("unset {name}")),
        Some(value) if value.starts_with("expr=") || value.replace("%%", "").contains('%') => {
            Err("its value is computed for each message; only plain text can be set".to_owned())
        }
        // Our own reader takes one pair of quotes off, and `%%` for a percent sign as httpd does.
        Some(value) if value.trim() != value || value.starts_with('"') => {
            Ok(format!("{action} {name} \"{value}\""))
        }
        Some(value) => Ok(format!("{action} {name} {value}").trim_end().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexer;
    use super::super::tree::Place;
    use super::*;

    #[test]
    fn basics_are_edits_and_the_rest_says_why() {
        for (line, expected) in [
            ("Header set X-A \"a b\"", Ok("set X-A a b")),
            (
                "Header always set Strict-Transport-Security: max-age=1",
                Ok("set Strict-Transport-Security max-age=1"),
            ),
            ("header ONSUCCESS Append Vary Origin", Ok("append Vary Origin")),
            ("RequestHeader add X-A 100%%", Ok("add X-A 100%%")),
            ("RequestHeader unset Proxy", Ok("unset Proxy")),
            ("RequestHeader set X-A \"\"", Ok("set X-A")),
            ("Header set ETag '\"a\"'", Ok("set ETag \"\"a\"\"")),
            (
                "RequestHeader unset Proxy early",
                Err("early has no equal here; an edit counts for every message"),
            ),
            (
                "Header set X-A 1 env=HTTPS",
                Err("env=HTTPS has no equal here; an edit counts for every message"),
            ),
            (
                "RequestHeader set X-DN \"%{SSL_CLIENT_S_DN}s\"",
                Err("its value is computed for each message; only plain text can be set"),
            ),
            (
                "Header edit Location ^http: https:",
                Err("edit has no equal here; set, add, append and unset do"),
            ),
            ("Header", Err("names no header")),
        ] {
            let (name, text) = lexer::word(line);
            let place = Place { file: "f".into(), line: 1 };
            let directive = Directive { place, name, text: text.to_owned(), words: lexer::words(text) };
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(edit(&directive), expected, "{line}");
        }
    }
}
