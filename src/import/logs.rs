//! `CustomLog`, `TransferLog`, `ErrorLog` and `LogFormat`: one folder and one format, because the files' names are
//! fixed.

use super::notes::Notes;
use super::servers::View;
use super::tree::Directive;

/// Formats that have a name of ours.
const NAMED: [(&str, &str); 2] = [
    ("combined", "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\""),
    ("common", "%h %l %u %t \"%r\" %>s %b"),
];
/// The stock format of `ssl_request_log`, which the TLS listener writes in any case.
const SSL_REQUEST: &str = "%t %h %{SSL_PROTOCOL}x %{SSL_CIPHER}x \"%r\" %b";

/// Folder and format, each with the directive that says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs<'a> {
    /// The folder.
    pub folder: Option<(String, &'a Directive)>,
    /// The format.
    pub format: Option<(String, &'a Directive)>,
}

/// What the servers `views` write; `path` makes paths absolute.
pub fn logs<'a>(views: &[View<'a>], path: impl Fn(&str) -> String, notes: &mut Notes) -> Logs<'a> {
    let mut logs = Logs::default();
    for view in views {
        let named = |name| view.nearest(name).into_iter();
        for directive in named("CustomLog").chain(named("TransferLog")).chain(named("ErrorLog")) {
            let file = directive.word(0);
            if file.starts_with('|') || file.starts_with("syslog") {
                let what = "lines go to files in proxy.reverse.log.dir, which apim-proxy rolls and compresses itself; a \
                            program can read them from there";
                notes.lost(directive, what);
                continue;
            }
            if directive.is("CustomLog") && directive.words.len() > 2 {
                notes.lost(directive, "every request has its line; filter them when reading");
            }
            let file = path(file);
            let (folder, name) = file.rsplit_once('/').unwrap_or(("", &file));
            match &logs.folder {
                None => logs.folder = Some((folder.to_owned(), directive)),
                Some((chosen, origin)) if chosen != folder => {
                    notes.differs(directive, format!("is written to the folder of {}", origin.place));
                }
                Some(_) => {}
            }
            if !directive.is("ErrorLog") {
                self::format(*view, directive, name, &mut logs, notes);
            }
        }
    }
    logs
}

/// Takes the format of an access log, or notes why another counts.
fn format<'a>(view: View<'a>, directive: &'a Directive, name: &str, logs: &mut Logs<'a>, notes: &mut Notes) {
    if !matches!(name, "access_log" | "ssl_access_log" | "ssl_request_log") {
        notes.differs(directive, "the file is called access_log, and ssl_access_log where TLS is spoken");
    }
    let format = if directive.is("CustomLog") { written(view, directive.word(1)) } else { common(view) };
    if format == SSL_REQUEST {
        return;
    }
    let format =
        NAMED.iter().find(|(_, text)| *text == format).map_or(format, |(name, _)| (*name).to_owned());
    match &logs.format {
        None => logs.format = Some((format, directive)),
        Some((chosen, origin)) if *chosen != format => {
            notes.differs(directive, format!("is written in the format of {}", origin.place));
        }
        Some(_) => {}
    }
}

/// The format a `CustomLog` names or spells out.
fn written(view: View<'_>, format: &str) -> String {
    let own = view.nearest("LogFormat");
    let main = View { main: view.main, host: None }.nearest("LogFormat");
    let found =
        own.iter().rev().chain(main.iter().rev()).find(|known| known.word(1).eq_ignore_ascii_case(format));
    found.map_or_else(|| format.to_owned(), |found| found.word(0).to_owned())
}

/// The format of a `TransferLog`: the last `LogFormat` without a name.
fn common(view: View<'_>) -> String {
    let unnamed = view.nearest("LogFormat").into_iter().rev().find(|format| format.words.len() == 1);
    unnamed.map_or_else(|| "common".to_owned(), |format| format.word(0).to_owned())
}
