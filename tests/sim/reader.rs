//! A tiny reader of answers for the simulated clients: it knows nothing of the library and believes every byte. It
//! finds where messages end; whether they are right is for the oracle to say.

/// One answer in what a client got.
#[derive(Clone, Debug)]
pub struct Message {
    pub start: usize,
    pub head_end: usize,
    pub end: usize,
    pub status: u16,
    /// It says `Connection: close`, or only the end of the connection ends it.
    pub closes: bool,
    /// Its body ends with the connection.
    pub until_close: bool,
    /// `X-Proxy-Error`: it is the proxy's own.
    pub code: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Head,
    Length(usize),
    ChunkSize,
    ChunkData(usize),
    Trailer,
    UntilClose,
}

/// Follows a stream of answers.
#[derive(Debug)]
pub struct Reader {
    phase: Phase,
    at: usize,
    open: Option<Message>,
    /// Complete messages, interim ones included.
    pub messages: Vec<Message>,
    /// How many of them are final.
    pub finals: usize,
    /// An answer said that it is the last.
    pub closes: bool,
}

/// The value of the header called `name` (lower case) in a head, trimmed.
pub fn header(head: &[u8], name: &str) -> Option<String> {
    head.split(|b| *b == b'\n').skip(1).find_map(|line| {
        let text = String::from_utf8_lossy(line);
        let (found, value) = text.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

impl Default for Reader {
    fn default() -> Self {
        Self { phase: Phase::Head, at: 0, open: None, messages: Vec::new(), finals: 0, closes: false }
    }
}

impl Reader {
    /// Reads on in `got`; `is_head(n)` says whether the n-th request was a HEAD.
    pub fn advance(&mut self, got: &[u8], is_head: impl Fn(usize) -> bool) {
        while self.step(got, &is_head) {}
    }

    /// The message that has begun and not ended.
    pub fn unfinished(&self) -> Option<&Message> {
        self.open.as_ref()
    }

    /// Where the first byte stands that belongs to no complete message.
    pub fn complete_to(&self) -> usize {
        self.messages.last().map_or(0, |message| message.end)
    }

    fn step(&mut self, got: &[u8], is_head: &impl Fn(usize) -> bool) -> bool {
        let rest = &got[self.at..];
        match self.phase {
            Phase::Head => {
                let Some(len) = find(rest, b"\r\n\r\n").map(|at| at + 4) else { return false };
                self.head(&got[self.at..self.at + len], is_head(self.finals));
            }
            Phase::Length(n) => {
                let here = n.min(rest.len());
                self.at += here;
                self.phase = Phase::Length(n - here);
                if here < n {
                    return false;
                }
                self.complete();
            }
            Phase::ChunkData(n) => {
                let here = n.min(rest.len());
                self.at += here;
                self.phase = if here < n { Phase::ChunkData(n - here) } else { Phase::ChunkSize };
                return here == n;
            }
            Phase::ChunkSize => {
                let Some(len) = find(rest, b"\r\n").map(|at| at + 2) else { return false };
                let digits = String::from_utf8_lossy(&rest[..len - 2]).into_owned();
                let size = usize::from_str_radix(&digits, 16).unwrap_or(0);
                self.at += len;
                self.phase = if size == 0 { Phase::Trailer } else { Phase::ChunkData(size + 2) };
            }
            Phase::Trailer => {
                let Some(len) = find(rest, b"\r\n").map(|at| at + 2) else { return false };
                self.at += len;
                if len == 2 {
                    self.complete();
                }
            }
            Phase::UntilClose => {
                self.at = got.len();
                return false;
            }
        }
        true
    }

    fn head(&mut self, head: &[u8], to_head: bool) {
        let status = String::from_utf8_lossy(head.get(9..12).unwrap_or(b"0")).parse().unwrap_or(0);
        let length = header(head, "content-length").and_then(|n| n.parse().ok());
        let chunked = header(head, "transfer-encoding").is_some();
        let start = self.at;
        self.at += head.len();
        let bodyless = to_head || matches!(status, 100..=199 | 204 | 304);
        self.phase = match (bodyless, chunked, length) {
            (true, ..) => Phase::Length(0),
            (false, true, _) => Phase::ChunkSize,
            (false, false, Some(n)) => Phase::Length(n),
            (false, false, None) => Phase::UntilClose,
        };
        let until_close = self.phase == Phase::UntilClose;
        let closes = until_close || header(head, "connection").is_some_and(|v| v == "close");
        let code = header(head, "x-proxy-error");
        self.open =
            Some(Message { start, head_end: self.at, end: self.at, status, closes, until_close, code });
    }

    fn complete(&mut self) {
        let mut message = self.open.take().expect("a head went before");
        message.end = self.at;
        if message.status >= 200 || message.status < 100 {
            self.finals += 1;
            self.closes |= message.closes;
        }
        self.messages.push(message);
        self.phase = Phase::Head;
    }

    /// The connection ended in order: that ends a message without a length.
    pub fn end(&mut self) {
        if self.phase == Phase::UntilClose {
            self.complete();
        }
    }
}
