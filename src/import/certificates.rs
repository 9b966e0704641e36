//! `SSL*` and `SSLProxy*`: what the TLS listener shows and asks, and how targets are verified.

use super::notes::Notes;
use super::servers::View;
use super::tree::Directive;
use crate::tls::suites;

/// A key below a prefix, its value and the directive it comes from.
pub type Row<'a> = (&'static str, String, &'a Directive);

/// The rows of the listener whose hosts are `views`.
pub fn listener<'a>(views: &[View<'a>], path: impl Fn(&str) -> String, notes: &mut Notes) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    let certificate = one(views, "SSLCertificateFile", notes, || {
        "one certificate counts for the port, that of the first host; put them all into one PKCS12 store \
         (proxy.reverse.ssl.key-store), from which the asked name chooses"
    });
    if let Some(certificate) = certificate {
        let mut beside = views.iter().filter(|view| view.last("SSLCertificateFile") == Some(certificate));
        // Without a file of its own the key stands in the certificate's.
        let key = beside.find_map(|view| view.last("SSLCertificateKeyFile")).unwrap_or(certificate);
        rows.push(("certificate", path(certificate.word(0)), certificate));
        rows.push(("certificate-private-key", path(key.word(0)), key));
    }
    if let Some(file) = one(views, "SSLCACertificateFile", notes, || "one file counts for the port") {
        rows.push(("trust-certificate", path(file.word(0)), file));
    }
    if let Some(chain) = one(views, "SSLCertificateChainFile", notes, || "one chain counts for the port") {
        let what = "the chain is read from the certificate's file; put it below the certificate there: cat CERTIFICATE CHAIN";
        notes.lost(chain, what);
    }
    if let Some(verify) = one(views, "SSLVerifyClient", notes, || "one rule counts for the port") {
        match verify.word(0).to_ascii_lowercase().as_str() {
            "require" => rows.push(("client-auth", "need".to_owned(), verify)),
            "optional" => rows.push(("client-auth", "want".to_owned(), verify)),
            "none" => {}
            _ => notes.lost(verify, "a certificate is verified or not asked for; write want or need"),
        }
    }
    if let Some(protocol) = one(views, "SSLProtocol", notes, || "one list counts for the port") {
        rows.extend(versions(protocol, notes).map(|text| ("enabled-protocols", text, protocol)));
    }
    if let Some(ciphers) = one(views, "SSLCipherSuite", notes, || "one list counts for the port") {
        rows.extend(suites_of(ciphers, notes).map(|text| ("ciphers", text, ciphers)));
    }
    rows
}

/// The rows of `https` targets reached from `view`.
pub fn target<'a>(
    view: View<'a>,
    path: impl Fn(&str) -> String,
    origin: &'a Directive,
    notes: &mut Notes,
) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    let is =
        |name: &str, word: &str| view.last(name).filter(|found| found.word(0).eq_ignore_ascii_case(word));
    if let Some(machine) = view.last("SSLProxyMachineCertificateFile") {
        rows.push(("key-store", path(machine.word(0)), machine));
    }
    match (is("SSLProxyVerify", "require"), view.last("SSLProxyCACertificateFile")) {
        (Some(_), Some(file)) => rows.push(("trust-store", path(file.word(0)), file)),
        (Some(_), None) => {}
        (None, _) => notes.lost(
            view.last("SSLProxyVerify").unwrap_or(origin),
            "httpd did not verify the certificate of this target, apim-proxy does; name the file of its issuer in \
             proxy.targets[N].trust-store unless the system trusts it",
        ),
    }
    if let Some(off) = is("SSLProxyCheckPeerName", "off").or_else(|| is("SSLProxyCheckPeerCN", "off")) {
        rows.push(("verify-hostname", "false".to_owned(), off));
    }
    if let Some(protocol) = view.last("SSLProxyProtocol") {
        rows.extend(versions(protocol, notes).map(|text| ("tls-version", text, protocol)));
    }
    rows
}

/// What the first host says; others that say something else are noted.
fn one<'a>(
    views: &[View<'a>],
    name: &str,
    notes: &mut Notes,
    what: impl Fn() -> &'static str,
) -> Option<&'a Directive> {
    let mut found = views.iter().filter_map(|view| view.last(name));
    let first = found.next()?;
    for other in found.filter(|other| other.words != first.words) {
        notes.lost(other, what());
    }
    Some(first)
}

/// The versions of `SSLProtocol` that are spoken; `None` when all of them are.
fn versions(directive: &Directive, notes: &mut Notes) -> Option<String> {
    const SPOKEN: [&str; 2] = ["TLSv1.2", "TLSv1.3"];
    let mut on = [false; 2];
    for word in &directive.words {
        let (wanted, name) = match word.strip_prefix('-') {
            Some(name) => (false, name),
            None => (true, word.strip_prefix('+').unwrap_or(word)),
        };
        if !word.starts_with(['+', '-']) {
            // A word without a sign takes the place of all before it.
            on = [false; 2];
        }
        for (on, spoken) in on.iter_mut().zip(SPOKEN) {
            if name.eq_ignore_ascii_case(spoken) || name.eq_ignore_ascii_case("all") {
                *on = wanted;
            }
        }
    }
    let names: Vec<&str> = SPOKEN.iter().zip(on).filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    if names.is_empty() {
        notes.lost(directive, "only TLSv1.2 and TLSv1.3 are spoken, and it names neither; both are");
    }
    (names.len() == 1).then(|| names.concat())
}

/// The suites, if they are written one by one; a class such as `HIGH` or `PROFILE=SYSTEM` leaves the choice to us.
fn suites_of(directive: &Directive, notes: &mut Notes) -> Option<String> {
    let text = directive.words.last()?;
    match suites::parse(text) {
        Ok(found) if !found.is_empty() => Some(text.clone()),
        _ => {
            notes.differs(directive, "every suite spoken is used: AES-GCM and ChaCha20 with ECDHE");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexer;
    use super::super::tree::Place;
    use super::*;

    fn directive(line: &str) -> Directive {
        let (name, text) = lexer::word(line);
        Directive {
            place: Place { file: "f".into(), line: 1 },
            name,
            text: text.to_owned(),
            words: lexer::words(text),
        }
    }

    #[test]
    fn versions_are_what_is_left_of_both() {
        for (line, expected, lost) in [
            ("SSLProtocol all -SSLv3", None, false),
            ("SSLProtocol -all +TLSv1.2", Some("TLSv1.2"), false),
            ("SSLProtocol all -TLSv1.3 -TLSv1 -TLSv1.1", Some("TLSv1.2"), false),
            ("SSLProtocol TLSv1.2 TLSv1.3", Some("TLSv1.3"), false),
            ("SSLProtocol +TLSv1.2 +TLSv1.3", None, false),
            ("SSLProtocol TLSv1.1", None, true),
        ] {
            let mut notes = Notes::default();
            assert_eq!(versions(&directive(line), &mut notes).as_deref(), expected, "{line}");
            assert_eq!(notes.count_lost() > 0, lost, "{line}");
        }
    }

    #[test]
    fn suites_count_where_they_are_named() {
        for (line, expected) in [
            ("SSLCipherSuite HIGH:!aNULL", None),
            ("SSLCipherSuite PROFILE=SYSTEM", None),
            (
                "SSLCipherSuite ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA",
                Some("ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA"),
            ),
            ("SSLCipherSuite TLSv1.3 TLS_AES_128_GCM_SHA256", Some("TLS_AES_128_GCM_SHA256")),
            ("SSLCipherSuite", None),
        ] {
            assert_eq!(suites_of(&directive(line), &mut Notes::default()).as_deref(), expected, "{line}");
        }
    }
}
