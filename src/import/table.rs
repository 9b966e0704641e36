//! Directives that become no property, and why: one row each.

use super::tree::Directive;

/// What becomes of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is read where properties are made of it.
    Carried,
    /// It means nothing to a proxy like this one; told in a group.
    Idle(&'static str),
    /// The default differs, and nobody should mind; told by itself.
    Differs(&'static str),
    /// It is missed: why, and what to do.
    Lost(&'static str),
}

/// Directives that properties are made of, in lower case.
const CARRIED: &str = "customlog errorlog header listen logformat proxyaddheaders proxypass proxypassmatch proxypassreverse \
    proxypassreversecookiedomain proxypassreversecookiepath proxypreservehost proxyset proxytimeout \
    proxyvia balancermember requestheader serveralias servername sslcacertificatefile \
    sslcertificatechainfile sslcertificatefile sslcertificatekeyfile sslciphersuite sslengine \
    sslprotocol sslproxycacertificatefile sslproxycheckpeercn sslproxycheckpeername \
    sslproxymachinecertificatefile sslproxyprotocol sslproxyverify sslverifyclient timeout transferlog";

const FILES: &str = "files are not served, only what a route names";
const PROCESSES: &str = "processes, users and paths of httpd; one worker a core runs here (server.workers)";
const LOGS: &str = "what httpd logs about itself; logging.level.* says it here";
const TLS: &str =
    "the TLS library's machinery; sessions, randomness and the choice of suites need no setting here";
const MARKS: &str = "variables for other directives; what used them is listed by itself";
const MANNERS: &str = "how httpd presents itself; answers of apim-proxy's own are one sentence";
const ACCESS: &str = "access for everybody, which is the default";
const TARGETS: &str = "switches of mod_proxy that need none here";

/// Groups of directives without meaning here.
const IDLE: &[(&str, &str)] = &[
    (
        FILES,
        "accessfilename addalt addaltbyencoding addaltbytype addcharset adddescription addencoding \
        addinputfilter addoutputfilter addhandler addicon addiconbyencoding addiconbytype addlanguage \
        addtype allowoverride cgidscripttimeout davlockdb defaulticon defaultlanguage \
        defaulttype directoryindex directoryslash documentroot enablemmap enablesendfile \
        fallbackresource fileetag forcelanguagepriority headername indexignore indexoptions indexstyle \
        languagepriority magicmimefile mimemagicfile multiviewsmatch options php_admin_value php_flag \
        php_value readmename removecharset removehandler removelanguage removetype scriptsock sethandler \
        typesconfig userdir xbithack",
    ),
    (
        PROCESSES,
        "asyncrequestworkerfactor coredumpdirectory defaultruntimedir extendedstatus \
        gracefulshutdowntimeout group listenbacklog maxclients maxconnectionsperchild maxmemfree \
        maxrequestsperchild maxrequestworkers maxsparethreads minsparethreads minspareservers \
        maxspareservers mutex acceptmutex lockfile acceptfilter pidfile receivebuffersize scoreboardfile \
        sendbuffersize serverlimit startservers statusfields threadlimit threadsperchild threadstacksize \
        user loadfile proxystatus seerequesttail watchdoginterval",
    ),
    (LOGS, "loglevel errorlogformat bufferedlogs globallog"),
    (
        TLS,
        "ssloptions sslpassphrasedialog sslrandomseed sslsessioncache sslsessioncachetimeout \
        sslsessiontickets sslsessionticketkeyfile sslcryptodevice sslmutex sslhonorcipherorder \
        sslcompression sslinsecurerenegotiation sslopensslconfcmd sslproxyengine sslrenegbuffersize \
        sslstaplingcache sslfips sslproxyciphersuite sslverifydepth sslproxyverifydepth \
        sslsrpunknownuserseed sslstrictsnivhostcheck",
    ),
    (MARKS, "browsermatch browsermatchnocase passenv setenv setenvif setenvifnocase unsetenv"),
    (
        MANNERS,
        "contentdigest errordocument hostnamelookups identitycheck namevirtualhost serveradmin \
        serversignature servertokens traceenable usecanonicalname usecanonicalphysicalport serverpath",
    ),
    (
        TARGETS,
        "proxybadheader proxydomain proxyiobuffersize proxymaxforwards proxyreceivebuffersize \
        proxyftpdircharset proxyhtmlenable balancergrowth balancerpersist proxypassinherit \
        proxypassinterpolateenv balancerinherit",
    ),
];

const FIXED_TIMES: &str = "server.tomcat.keep-alive-timeout, server.tomcat.connection-timeout and proxy.client.body-timeout \
                           count for every listener; look whether theirs do";
const REDIRECTS: &str =
    "requests are not redirected; let the target do it, or keep an httpd or a load balancer for it";
const REWRITES: &str = "requests are not rewritten; write a plain rule as a route (proxy.reverse.routes), let the target do \
                        the rest";
const AUTHENTICATION: &str =
    "the reverse listeners ask for no password; let the target do it, or ask for client certificates";
const ENTRY: &str = "this limits who may come in; proxy.reverse.ip.allow does for all routes at once, and nothing does \
                     until it is set";
const FILTERS: &str = "bodies pass as they are; let the target do it";
const FIREWALL: &str = "nothing looks into requests here; keep a firewall of that kind in front";
const REVOCATION: &str =
    "revocation is not looked up; end a certificate's life at its issuer or take it out of the trust file";
const FORWARDED: &str =
    "the client's address is the socket's; a load balancer in front needs its own settings";

/// Directives that are missed.
const LOST: &[(&str, &str)] = &[
    (REDIRECTS, "redirect redirectmatch redirectpermanent redirecttemp"),
    (REWRITES, "rewriterule rewritecond rewritemap rewritebase"),
    (
        AUTHENTICATION,
        "authtype authname authuserfile authgroupfile authbasicprovider authldapurl sslusername \
        authmerging satisfy",
    ),
    (ENTRY, "require deny allow sslrequire sslrequiressl allowmethods"),
    (FILTERS, "substitute setoutputfilter setinputfilter proxyhtmlurlmap proxyerroroverride"),
    (
        REVOCATION,
        "sslcarevocationfile sslcarevocationpath sslcarevocationcheck sslocspenable \
        sslproxycarevocationfile",
    ),
    (
        "certificates are read from files; put them together into one: cat FOLDER/*.pem",
        "sslcacertificatepath sslproxycacertificatepath sslcadnrequestfile sslcadnrequestpath \
        sslproxymachinecertificatepath sslproxymachinecertificatechainfile",
    ),
    (
        "answers are not cached; let the target or a cache in front do it",
        "cacheenable cacheroot expiresactive expiresdefault expiresbytype",
    ),
    (
        FORWARDED,
        "remoteipheader remoteipinternalproxy remoteiptrustedproxy remoteipproxyprotocol \
        remoteipinternalproxylist",
    ),
    (
        "targets are reached directly; no other proxy is asked",
        "proxyremote proxyremotematch noproxy proxyblock proxysourceaddress",
    ),
    ("bodies of any size pass; let the target limit them", "limitrequestbody limitxmlrequestbody"),
    ("dates of certificates are always checked", "sslproxycheckpeerexpire"),
    ("the OCSP answer is not stapled", "sslusestapling"),
    ("the macro is not expanded; write its lines out", "use"),
    ("no program is run for a request", "action script extfilterdefine luahookfixups"),
];

/// Directives whose default is another here.
const DIFFERS: &[(&str, &str)] = &[
    (FIXED_TIMES, "keepalive keepalivetimeout maxkeepaliverequests requestreadtimeout"),
    (
        "answers are not compressed and keep their Content-Type; the target does that",
        "addoutputfilterbytype adddefaultcharset deflatecompressionlevel filterdeclare filterprovider \
        filterchain",
    ),
    ("HTTP/1.1 is spoken", "protocols protocolshonororder h2push h2direct"),
    (
        "heads have one limit, server.max-http-header-size (8 KB unless set), and 100 lines",
        "limitrequestline limitrequestfields limitrequestfieldsize",
    ),
    ("framing is always strict", "httpprotocoloptions"),
    ("escaped slashes pass to the target as they are written", "allowencodedslashes mergeslashes"),
];

/// Paths that distributions alias, to files nobody misses.
const STOCK_ALIASES: [&str; 6] = ["/icons/", "/error/", "/cgi-bin/", "/manual", "/noindex", "/.noindex.html"];

/// What becomes of `directive`.
pub fn fate(directive: &Directive) -> Fate {
    let name = directive.name.to_ascii_lowercase();
    let first = directive.word(0).to_ascii_lowercase();
    let has = |names: &str| names.split(' ').any(|one| one == name);
    let row = |rows: &[(&'static str, &str)]| rows.iter().find(|(_, names)| has(names)).map(|(why, _)| *why);
    match (name.as_str(), first.as_str()) {
        ("rewriteengine" | "proxyrequests" | "proxyerroroverride", "off") => Fate::Idle(TARGETS),
        ("require", "all") if directive.word(1).eq_ignore_ascii_case("granted") => Fate::Idle(ACCESS),
        ("allow", "from") if directive.word(1).eq_ignore_ascii_case("all") => Fate::Idle(ACCESS),
        ("order", _) | ("satisfy", "all") | ("limitrequestbody" | "limitxmlrequestbody", "0") => {
            Fate::Idle(ACCESS)
        }
        ("sslusestapling" | "sslocspenable" | "remoteipproxyprotocol", "off")
        | ("sslcarevocationcheck", "none")
        | ("sslproxycheckpeerexpire", "on") => Fate::Idle(TLS),
        ("expiresactive", "off") => Fate::Idle(FILES),
        ("rewriteengine" | "rewriteoptions", _) => Fate::Idle(MARKS),
        ("proxyrequests", _) => Fate::Lost(
            "the forward proxy is the listener of server.port (proxy.forward.forms); a reverse listener forwards nothing else",
        ),
        ("alias" | "scriptalias", path) if STOCK_ALIASES.iter().any(|stock| path.starts_with(stock)) => {
            Fate::Idle(FILES)
        }
        ("alias" | "aliasmatch" | "scriptalias" | "scriptaliasmatch" | "wsgiscriptalias", _) => Fate::Lost(
            "files are not served and no program is run; let a target do it and write a route to it",
        ),
        _ if has(CARRIED) => Fate::Carried,
        (name, _) if name.starts_with("sec") => Fate::Lost(FIREWALL),
        (name, _) if name.starts_with("dos") || name.starts_with("qs_") => Fate::Lost(FIREWALL),
        (name, _) if name.starts_with("h2") => Fate::Differs("HTTP/1.1 is spoken"),
        _ => row(IDLE)
            .map(Fate::Idle)
            .or_else(|| row(DIFFERS).map(Fate::Differs))
            .or_else(|| row(LOST).map(Fate::Lost))
            .unwrap_or(Fate::Lost(
                "import-httpd does not know it; look what it does, and whether the target can do it",
            )),
    }
}
