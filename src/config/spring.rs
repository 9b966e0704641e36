//! Names and placeholders as Spring understands them: pure text, no sources.
//!
//! `server.ssl.keyStore`, `server.ssl.key-store` and `server.ssl.KEY_STORE` are one name; the environment writes it
//! `SERVER_SSL_KEY_STORE` or `SERVER_SSL_KEYSTORE`. `${name:default}` stands for another value.

use std::collections::HashMap;

use crate::setting::AnySetting;

/// The deepest nesting of placeholders that is followed.
const PLACEHOLDER_DEPTH_MAX: usize = 32;

/// Every known key, findable by any of its spellings.
pub struct Names {
    /// By [`uniform`] name with indexes as `[n]`, aliases included.
    by_name: HashMap<String, &'static dyn AnySetting>,
    /// By the environment's spelling: letters and digits only.
    by_environment: HashMap<String, &'static dyn AnySetting>,
    /// Keys that end in `.*`, longest first.
    families: Vec<&'static dyn AnySetting>,
}

/// A name some source wrote, understood.
#[derive(Clone)]
pub struct Known {
    /// The setting it names.
    pub setting: &'static dyn AnySetting,
    /// Its canonical key: the setting's own, with the index or the family's last part filled in.
    pub key: String,
}

impl Names {
    /// Indexes `settings` by all their names.
    pub fn new(settings: impl Iterator<Item = &'static dyn AnySetting>) -> Self {
        let mut names =
            Self { by_name: HashMap::new(), by_environment: HashMap::new(), families: Vec::new() };
        for setting in settings {
            if setting.key().ends_with(".*") {
                names.families.push(setting);
                continue;
            }
            for name in setting.aliases().iter().chain([&setting.key()]) {
                names.by_name.insert(uniform(name), setting);
                names.by_environment.insert(letters(name), setting);
            }
        }
        names.families.sort_by_key(|setting| std::cmp::Reverse(setting.key().len()));
        names
    }

    /// The setting a file or a flag means by `name`.
    pub fn find(&self, name: &str) -> Option<Known> {
        let (pattern, indexes) = without_indexes(&uniform(name));
        if let Some(&setting) = self.by_name.get(&pattern) {
            return Some(Known { setting, key: with_indexes(setting.key(), &indexes) });
        }
        self.families.iter().find_map(|&setting| {
            let prefix = setting.key().trim_end_matches('*');
            let dots = prefix.matches('.').count();
            let (end, _) = name.match_indices('.').nth(dots - 1)?;
            let (head, rest) = name.split_at(end + 1);
            let (pattern, indexes) = without_indexes(&uniform(head));
            let known = pattern == uniform(prefix) && !rest.is_empty();
            known.then(|| Known { setting, key: with_indexes(prefix, &indexes) + rest })
        })
    }

    /// The setting the environment variable `name` means. Variables of one word (`DEBUG`, `TRACE`) belong to too many
    /// other programs and never count.
    pub fn find_environment(&self, name: &str) -> Option<Known> {
        if name.contains('.') {
            return self.find(name);
        }
        if !name.contains('_') {
            return None;
        }
        let is_index = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let indexes: Vec<String> = name.split('_').filter(is_index).map(str::to_owned).collect();
        let pattern: Vec<&str> =
            name.split('_').map(|part| if is_index(&part) { "n" } else { part }).collect();
        let exact = self.by_environment.get(&letters(name)).map(|setting| (setting, &[][..]));
        if let Some((&setting, indexes)) =
            exact.or_else(|| self.by_environment.get(&letters(&pattern.concat())).map(|s| (s, &indexes[..])))
            && setting.key().matches("[N]").count() == indexes.len()
        {
            return Some(Known { setting, key: with_indexes(setting.key(), indexes) });
        }
        let dotted = name.to_ascii_lowercase().replace('_', ".");
        self.families.iter().find_map(|&setting| {
            let prefix = setting.key().trim_end_matches('*');
            let rest = dotted.strip_prefix(&*prefix.replace('-', "."))?;
            (!rest.is_empty()).then(|| Known { setting, key: format!("{prefix}{rest}") })
        })
    }

    /// The known key that looks most like `name`, if any looks alike.
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        let (wanted, _) = without_indexes(&uniform(name));
        let limit = 1 + wanted.len() / 8;
        let near = self.by_name.iter().map(|(known, setting)| (distance(&wanted, known), setting.key()));
        near.filter(|&(far, _)| far <= limit).min().map(|(_, key)| key)
    }
}

/// The spelling-free form of a name: lower case, without `-` and `_`, dots and brackets kept.
pub fn uniform(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// `a[12].b` as `a[n].b` and `12`.
fn without_indexes(name: &str) -> (String, Vec<String>) {
    let mut pattern = String::new();
    let mut indexes = Vec::new();
    let mut rest = name;
    while let Some((head, tail)) = rest.split_once('[') {
        pattern.push_str(head);
        pattern.push('[');
        rest = tail;
        if let Some((index, after)) = tail.split_once(']')
            && !index.is_empty()
            && index.bytes().all(|byte| byte.is_ascii_digit())
        {
            indexes.push(index.to_owned());
            pattern.push_str("n]");
            rest = after;
        }
    }
    pattern.push_str(rest);
    (pattern, indexes)
}

fn with_indexes(key: &str, indexes: &[String]) -> String {
    indexes.iter().fold(key.to_owned(), |key, index| key.replacen("[N]", &format!("[{index}]"), 1))
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// `text` with every `${name:default}` replaced by what `lookup` says of the name, or by the default. Values and
/// defaults may hold placeholders themselves. A `${` without its `}` is plain text.
///
/// # Errors
/// A name that nothing defines and that has no default, a name that leads back to itself, or nesting beyond reason.
/// The message names the placeholder, never a value.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    expand_within(text, lookup, &mut Vec::new())
}

fn expand_within(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    within: &mut Vec<String>,
) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once("${") {
        let Some(end) = closing_brace(tail) else { break };
        out.push_str(head);
        rest = &tail[end + 1..];
        if within.len() == PLACEHOLDER_DEPTH_MAX {
            return Err(format!("nests placeholders more than {PLACEHOLDER_DEPTH_MAX} deep"));
        }
        out.push_str(&placeholder(&tail[..end], lookup, within)?);
    }
    out.push_str(rest);
    Ok(out)
}

/// The value of what stands between `${` and `}`.
fn placeholder(
    inside: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    within: &mut Vec<String>,
) -> Result<String, String> {
    let (name, default) = match split_default(inside) {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    within.push(String::new());
    let name = expand_within(name, lookup, within)?;
    within.pop();
    if within.contains(&name) {
        return Err(format!("has a placeholder that leads back to itself: ${{{name}}}"));
    }
    let Some(text) = lookup(&name).or_else(|| default.map(str::to_owned)) else {
        return Err(format!("has a placeholder that nothing defines: ${{{name}}}"));
    };
    within.push(name);
    let value = expand_within(&text, lookup, within);
    within.pop();
    value
}

/// Where the placeholder that begins before `text` ends, inner braces counted.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    text.char_indices().find_map(|(at, c)| {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        None
    })
}

/// Name and default around the first colon outside inner placeholders.
fn split_default(inside: &str) -> Option<(&str, &str)> {
    let mut open = 0_usize;
    let colon = inside.char_indices().find_map(|(at, c)| {
        match c {
            '{' => open += 1,
            '}' => open = open.saturating_sub(1),
            ':' if open == 0 => return Some(at),
            _ => {}
        }
        None
    })?;
    Some((&inside[..colon], &inside[colon + 1..]))
}
