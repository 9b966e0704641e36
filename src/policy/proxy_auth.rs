//! `proxy.auth.file`: who may use the forward listener, by name and password (Basic, RFC 7617).
//!
//! The file is one of Apache's htpasswd: bcrypt (`htpasswd -B`), or the salted MD5 it wrote by default (apr1). A hash is
//! made to be slow, so the loop never computes one: it knows a credential again by a keyed digest, and has others verified
//! elsewhere. A name that nobody has takes as long as one that somebody has.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64ct::{Base64, Encoding as _};
use bcrypt::HashParts;
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use crate::setting::Setting;
use crate::value;

/// The file of names and passwords.
pub static AUTH_FILE: Setting<String> = Setting::new(
    "proxy.auth.file",
    "",
    value::text,
    "Users of the forward listener, as a file of `htpasswd -B`, located like the stores and watched like them; every \
     request of every form then needs Proxy-Authorization (Basic), others get 407. Unset: nobody is asked.",
);

/// The longest value of Proxy-Authorization that is looked at.
const VALUE_BYTES_MAX: usize = 1024;
/// The costliest bcrypt hash that is taken: about a second of one core.
const COST_MAX: u32 = 14;
/// Rounds of apr1.
const ROUNDS: usize = 1000;

/// A keyed digest of a credential.
pub type Tag = [u8; 32];

/// The users of a file.
pub struct Users {
    hashes: HashMap<Box<str>, Hash>,
    /// What an unknown name is compared with.
    decoy: Hash,
    key: hmac::Key,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("count", &self.hashes.len()).finish_non_exhaustive()
    }
}

impl Users {
    /// Reads the text of a file; `secret` is random.
    ///
    /// # Errors
    /// What is wrong with each bad line, separated by `; `.
    pub fn parse(text: &str, secret: &[u8; 32]) -> Result<Self, String> {
        let mut hashes = HashMap::new();
        let mut decoy = None;
        let mut wrong = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match user(line) {
                Ok((name, hash)) => {
                    decoy.get_or_insert_with(|| hash.clone());
                    if hashes.insert(name.into(), hash).is_some() {
                        wrong.push(format!("line {} names {name} again", at + 1));
                    }
                }
                Err(what) => wrong.push(format!("line {} {what}", at + 1)),
            }
        }
        match decoy {
            _ if !wrong.is_empty() => Err(wrong.join("; ")),
            None => Err("names no user; add one with htpasswd -B".to_owned()),
            Some(decoy) => Ok(Self { hashes, decoy, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }),
        }
    }

    /// What tells the value of Proxy-Authorization from others, to be known again without its password.
    pub fn tag(&self, value: &[u8]) -> Tag {
        let mut tag = [0; 32];
        tag.copy_from_slice(hmac::sign(&self.key, value).as_ref());
        tag
    }

    fn verify(&self, name: &str, password: &[u8]) -> bool {
        let known = self.hashes.get(name);
        let right = known.unwrap_or(&self.decoy).is_of(password);
        right && known.is_some()
    }
}

/// A line of the file.
fn user(line: &str) -> Result<(&str, Hash), String> {
    let (name, hash) = line.split_once(':').ok_or("is not name:hash")?;
    if name.is_empty() {
        return Err("has no name".to_owned());
    }
    Hash::parse(hash).map(|hash| (name, hash)).map_err(|what| format!("gives {name} {what}"))
}

/// A stored password.
#[derive(Clone)]
enum Hash {
    Bcrypt(Box<str>),
    Apr1 { salt: Box<[u8]>, sum: Box<[u8]> },
}

impl Hash {
    fn parse(text: &str) -> Result<Self, String> {
        if ["$2y$", "$2a$", "$2b$"].iter().any(|begin| text.starts_with(begin)) {
            let parts: HashParts =
                text.parse().map_err(|_| "a bcrypt hash that is cut off or damaged".to_owned())?;
            return if parts.get_cost() <= COST_MAX {
                Ok(Self::Bcrypt(text.into()))
            } else {
                Err(format!("a bcrypt hash of a cost over {COST_MAX}, which takes too long"))
            };
        }
        if let Some(rest) = text.strip_prefix("$apr1$") {
            let (salt, sum) = rest.split_once('$').unwrap_or_default();
            let sound = (1..=8).contains(&salt.len()) && sum.len() == 22;
            let (salt, sum) = (salt.as_bytes().into(), sum.as_bytes().into());
            return if sound {
                Ok(Self::Apr1 { salt, sum })
            } else {
                Err("an apr1 hash that is cut off or damaged".to_owned())
            };
        }
        let kind = if text.starts_with("{SHA}") {
            "a {SHA} hash, which has no salt"
        } else if text.starts_with('$') {
            "a hash of an unknown kind"
        } else {
            "a password of crypt or in plain text, which anybody who reads it can use"
        };
        Err(format!("{kind}; write it anew with htpasswd -B"))
    }

    /// Whether this is the hash of `password`.
    fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Apr1 { salt, sum } => verify_slices_are_equal(&apr1(password, salt), sum).is_ok(),
        }
    }
}

/// Apache's variant of the MD5 crypt of FreeBSD, as its `apr_md5_encode` has it.
fn apr1(password: &[u8], salt: &[u8]) -> [u8; 22] {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut outer = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    for at in (0..password.len()).step_by(16) {
        outer.update(&inner[..(password.len() - at).min(16)]);
    }
    let mut bits = password.len();
    while bits > 0 {
        // The original takes a byte of a buffer that it has just cleared.
        outer.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut sum = outer.finalize();
    for round in 0..ROUNDS {
        let mut next = Md5::new();
        next.update(if round % 2 == 1 { password } else { &sum });
        if round % 3 > 0 {
            next.update(salt);
        }
        if round % 7 > 0 {
            next.update(password);
        }
        next.update(if round % 2 == 1 { &sum[..] } else { password });
        sum = next.finalize();
    }
    letters(&sum)
}

/// The sum in the alphabet and the order of MD5 crypt: six bits a letter, the lowest first.
fn letters(sum: &[u8]) -> [u8; 22] {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const GROUPS: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut out = [0; 22];
    let mut rest = out.iter_mut();
    let mut put = |mut bits: usize, count: usize| {
        for place in rest.by_ref().take(count) {
            *place = ALPHABET[bits & 63];
            bits >>= 6;
        }
    };
    for group in GROUPS {
        put(group.iter().fold(0, |bits, &at| bits << 8 | usize::from(sum[at])), 4);
    }
    put(usize::from(sum[11]), 2);
    out
}

/// Takes name and password out of the value of Proxy-Authorization; `None` when it is no Basic credential.
pub fn with_credential<T>(value: &[u8], take: impl FnOnce(&str, &[u8]) -> T) -> Option<T> {
    let (scheme, rest) = value.split_at_checked(b"Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") || value.len() > VALUE_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(rest).ok()?.trim_start_matches(' ');
    let mut room = Zeroizing::new([0; VALUE_BYTES_MAX]);
    let decoded = Base64::decode(text, &mut *room).ok()?;
    let colon = decoded.iter().position(|&b| b == b':')?;
    let name = std::str::from_utf8(&decoded[..colon]).ok()?;
    Some(take(name, &decoded[colon + 1..]))
}

/// A credential that has to be verified.
pub struct Login {
    users: Arc<Users>,
    name: Box<str>,
    password: Zeroizing<Vec<u8>>,
    /// Tells it from others.
    pub tag: Tag,
    /// Whose it is.
    pub client: IpAddr,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Login {
    /// Reads the value of Proxy-Authorization, whose tag is `tag`; `None` when it is no Basic credential.
    pub fn read(users: &Arc<Users>, value: &[u8], tag: Tag, client: IpAddr) -> Option<Self> {
        with_credential(value, |name, password| {
            let password = Zeroizing::new(password.to_vec());
            Self { users: Arc::clone(users), name: name.into(), password, tag, client }
        })
    }

    /// Whose password it is to be.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether name and password belong together. Takes as long as a hash takes.
    pub fn is_right(&self) -> bool {
        self.users.verify(&self.name, &self.password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `htpasswd -nbBC 4`, `openssl passwd -apr1 -salt` and `htpasswd -nbm`.
    const FILE: &str = "# people\n\nada:$2y$04$BCRYPT\nbob:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\r\n";

    fn users() -> Users {
        let hash = bcrypt::hash_with_salt(b"s:e cret", 4, [7; 16]).expect("a cost that is allowed");
        Users::parse(&FILE.replace("$2y$04$BCRYPT", &hash.to_string()), &[1; 32]).expect("well formed")
    }

    #[test]
    fn names_and_passwords_belong_together() {
        let users = Arc::new(users());
        let right = |text: &str| {
            let value = format!("bAsIc  {}", Base64::encode_string(text.as_bytes()));
            let tag = users.tag(value.as_bytes());
            let client = IpAddr::from([127, 0, 0, 1]);
            Login::read(&users, value.as_bytes(), tag, client).is_some_and(|login| login.is_right())
        };
        assert!(right("ada:s:e cret") && right("bob:password"));
        for wrong in
            ["ada:s:e", "ada:", "ada", ":s:e cret", "bob:s:e cret", "eve:password", "Ada:s:e cret", ""]
        {
            assert!(!right(wrong), "{wrong}");
        }
        for malformed in [&b"Basic"[..], b"Basic !", b"Bearer YTpi", b"Basic YTpi YTpi", b"Basic YTp"] {
            let client = IpAddr::from([127, 0, 0, 1]);
            assert!(Login::read(&users, malformed, [0; 32], client).is_none(), "{malformed:?}");
        }
        assert_ne!(users.tag(b"Basic a"), users.tag(b"Basic b"));
        assert_ne!(
            users.tag(b"Basic a"),
            Users::parse("a:$apr1$b$1234567890123456789012", &[2; 32]).expect("sound").tag(b"Basic a")
        );
    }

    #[test]
    fn the_md5_of_apache_is_the_md5_of_apache() {
        // By openssl passwd -apr1 -salt SALT PASSWORD.
        for (password, salt, sum) in [
            ("password", "lZL6V/ci", "eIMz/iKDkbtys/uU7LEK00"),
            ("", "saltsalt", "a8ml/vK5HEjiZ5oypDWA7/"),
            ("a", "saltsalt", "OEnK0QmmvoDzFw9W2yFYT/"),
            ("ab", "saltsalt", "ECPS6hE0yX5z//utwLcvK."),
            ("0123456789abcdef", "saltsalt", "noZiBycUL1t9WTQEO7/nr1"),
            ("0123456789abcdefg", "saltsalt", "zEghXWGhM0psocYwTG.hX1"),
            ("\u{d55c}\u{ae00} pass", "saltsalt", "WTXx8/NI/bplWWqJ5xk9o."),
            ("hello", "x", "0WGaJHzpvFaDL1qaJ8Mt90"),
        ] {
            assert_eq!(apr1(password.as_bytes(), salt.as_bytes()), sum.as_bytes(), "{password}");
        }
    }

    #[test]
    fn bad_lines_are_all_named() {
        let file = "a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nb:rqXexS6ZhobKA\nc\n:x\ne:$2y$04$short\nf:$apr1$x$y\ng:$6$a$b\n\
                    h:$2y$31$sEkrIxUCTE9IeAADJbTfZeEbPbFGyRJPcMwHjnHgQYXWGdJRNkSHa\nok:$apr1$b$1234567890123456789012\n\
                    ok:$apr1$b$1234567890123456789012";
        let what = Users::parse(file, &[0; 32]).expect_err("nothing but bad lines");
        for part in [
            "line 1 gives a a {SHA} hash, which has no salt; write it anew with htpasswd -B",
            "line 2 gives b a password of crypt or in plain text",
            "line 3 is not name:hash",
            "line 4 has no name",
            "line 5 gives e a bcrypt hash that is cut off",
            "line 6 gives f an apr1 hash that is cut off",
            "line 7 gives g a hash of an unknown kind",
            "line 8 gives h a bcrypt hash of a cost over 14",
            "line 10 names ok again",
        ] {
            assert!(what.contains(part), "{part}: {what}");
        }
        assert!(Users::parse("# nobody\n", &[0; 32]).is_err());
    }
}
