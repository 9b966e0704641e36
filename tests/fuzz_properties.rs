//! Seeded mutations over the properties reader: it never panics, its lines lie within the file, and simple files mean
//! what a naive reading says. `FUZZ_ROUNDS=` sets the number of rounds.

use apim_proxy::config::properties::{Property, read};

const SEEDS: [&str; 6] = [
    include_str!("fixtures/application.properties"),
    "a=1\r\nb : 2\rc 3\n\\u0041=\\ud83d\\ude00\n",
    "# comment\\\n! other\nkey=one,\\\n   two,\\\r\n   three\n\n  spaced  =  value  \n",
    "path=C:\\\\dir\\\\file\\\nend\\",
    "\u{FEFF}이름=값\ncaf\u{e9}:na\u{ef}ve",
    "${a}=${b:${c}}\nproxy.targets[0].match=*.bank.co.kr\n=\n:\n\\=\\:\n",
];
/// Bytes that mean something to the reader.
const ALPHABET: &[u8] = b"\\\\\\\n\r=: \t\x0C#!uU0dD8aAfz\x00\xC3\xA9\xFF\xEF\xBB\xBF";

/// SplitMix64: small, seeded, good enough to mutate with.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len() + 1);
            match self.below(4) {
                0 => bytes.insert(at, ALPHABET[self.below(ALPHABET.len())]),
                1 if at < bytes.len() => bytes[at] = ALPHABET[self.below(ALPHABET.len())],
                2 if at < bytes.len() => drop(bytes.drain(at..(at + 1 + self.below(8)).min(bytes.len()))),
                _ => bytes.truncate(at.max(4)),
            }
        }
    }

    /// A text of `length` letters, digits and dots.
    fn word(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(b"abcXYZ019.-_,/"[self.below(14)])).collect()
    }
}

fn rounds() -> u64 {
    std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000)
}

#[test]
fn mutated_files_never_panic_and_lines_lie_within() {
    for round in 0..rounds() {
        let mut random = Random(round);
        let mut bytes = SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
        random.mutate(&mut bytes);
        let lines = 1 + bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
        let read = read(&bytes);
        let mut last = 0;
        for line in read.entries.iter().map(|property| property.line) {
            assert!(last < line && line <= lines, "round {round}: line {line} after {last} of {lines}");
            last = line;
        }
        for malformed in &read.malformed {
            assert!((1..=lines).contains(&malformed.line), "round {round}");
            assert!(read.entries.iter().all(|property| property.line != malformed.line), "round {round}");
        }
    }
}

#[test]
fn simple_files_mean_what_they_show() {
    for round in 0..rounds() / 20 {
        let mut random = Random(round);
        let mut text = String::new();
        let mut expected = Vec::new();
        for line in 1..=random.below(20) {
            let end = ["\n", "\r\n"][random.below(2)];
            match random.below(4) {
                0 => text.extend(["  # ", &random.word(9)]),
                1 => {}
                _ => {
                    let (key_length, value_length) = (1 + random.below(12), random.below(20));
                    let (key, value) = (random.word(key_length), random.word(value_length));
                    let separator = ["=", " = ", ":", "\t:", " "][random.below(5)];
                    text.extend([key.as_str(), separator, &value]);
                    expected.push(Property { key, value, line });
                }
            }
            text.push_str(end);
        }
        let read = read(text.as_bytes());
        assert_eq!((read.entries, read.malformed), (expected, vec![]), "round {round}: {text:?}");
    }
}
