//! One line for each exchange: what is noted of it on its way, and what becomes of that when it is over.
//!
//! ```text
//! head --> Record --(statuses, bytes, waits)--> end --Format--> Journal --32 KB or 200 ms--> Io::log --> shell
//! ```
//! Lines do not go through the `log` facade. Nothing here allocates in steady state, and nothing waits: a full disk is
//! the shell's business.

pub mod closing;
pub mod escape;
pub mod field;
pub mod format;
pub mod journal;
pub mod line;
pub mod mask;
pub mod pen;
pub mod record;
pub mod stamp;
pub mod time_format;
pub mod wanted;

use crate::setting::{AnySetting, Setting, Source};
use crate::value;
use format::Format;
use mask::Mask;
use record::Door;
use std::path::PathBuf;
use wanted::Wanted;

/// The settings of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[&FILE, &FORMAT, &mask::MASK, &mask::MASK_PATHS];

/// Where the lines of the forward listener go.
pub static FILE: Setting<Option<PathBuf>> = Setting::new(
    "proxy.log.file",
    "",
    value::path,
    "File of the transaction log: one line for each exchange of the forward listener; unset: `access.log` in the folder of \
     `logging.file.name`, and none when that is unset too.",
);

/// What they say.
pub static FORMAT: Setting<Option<String>> = Setting::new(
    "proxy.log.format",
    "json",
    transaction_format,
    "What a line of the transaction log says: `json`, `combined`, `common` or another of httpd's names, a `LogFormat` string, \
     or `off`.",
);

fn transaction_format(text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    Format::compile(text, &mut Wanted::default()).map(|_| Some(text.to_owned()))
}

/// A file that lines go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The transaction log of the forward listener.
    Transactions,
}

impl Stream {
    /// Every stream.
    pub const ALL: &[Self] = &[Self::Transactions];
}

/// What is written of the exchanges of a listener.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// The lines of an exchange, and where each goes.
    pub lines: Vec<(Stream, Format)>,
    /// The headers they show.
    pub wanted: Wanted,
    /// A line shows the client's TLS.
    pub shows_client_tls: bool,
    /// A line shows our own address.
    pub shows_local: bool,
}

impl Sheet {
    /// A sheet of these lines.
    ///
    /// # Errors
    /// What is wrong with a format.
    pub fn of(lines: &[(Stream, &str)]) -> Result<Self, String> {
        let mut sheet = Self::default();
        for (stream, text) in lines {
            let format = Format::compile(text, &mut sheet.wanted)?;
            sheet.shows_client_tls |= format.shows_client_tls();
            sheet.shows_local |= format.shows_local();
            sheet.lines.push((*stream, format));
        }
        Ok(sheet)
    }
}

/// What is written, of which listeners.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// By [`Door`]; `None` is nothing.
    pub sheets: [Option<Sheet>; Door::ALL.len()],
    /// What is not shown.
    pub mask: Mask,
    /// The process, for lines that name it.
    pub process: u32,
}

impl Recording {
    /// Reads the formats; whether there is a file for them is for the shell to say.
    ///
    /// # Errors
    /// What is wrong with a text.
    pub fn from(source: &impl Source) -> Result<Self, String> {
        let format = source.value(&FORMAT)?;
        let forward = format.map(|text| Sheet::of(&[(Stream::Transactions, &text)])).transpose()?;
        let mask = Mask { on: source.value(&mask::MASK)?, patterns: source.value(&mask::MASK_PATHS)? };
        Ok(Self { sheets: [forward, None, None], mask, process: 0 })
    }
}
