//! The servers of a configuration: the main one and its virtual hosts, each with the directives that properties are
//! made of. What becomes no property is noted here.

use super::notes::Notes;
use super::table::{Fate, fate};
use super::tree::{Directive, Node};

/// What is said of `<Location /server-status>`.
const STATUS: &str = "pages of httpd about itself; SIGUSR1 writes the counters to the log here";

/// Where within a server a directive stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// It counts for all requests.
    Server,
    /// Within `<Location path>`.
    Location(String),
    /// Within `<Proxy url>`.
    Proxy(String),
}

/// A directive in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it counts for.
    pub scope: Scope,
    /// The directive.
    pub directive: Directive,
}

/// The main server or a virtual host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// `<VirtualHost addresses>`; the main server has none.
    pub opened: Option<Directive>,
    /// In order.
    pub items: Vec<Item>,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// What stands outside of virtual hosts.
    pub main: Server,
    /// In order.
    pub hosts: Vec<Server>,
}

impl Servers {
    /// Sorts a tree's directives.
    pub fn of(nodes: Vec<Node>, notes: &mut Notes) -> Self {
        let mut servers = Self::default();
        let mut rest = Vec::new();
        for node in nodes {
            match node {
                Node::Section(section, inner) if section.is("VirtualHost") => {
                    let mut host = Server { opened: Some(section), items: Vec::new() };
                    host.take(inner, &Scope::Server, notes);
                    servers.hosts.push(host);
                }
                node => rest.push(node),
            }
        }
        servers.main.take(rest, &Scope::Server, notes);
        servers
    }
}

impl Server {
    fn take(&mut self, nodes: Vec<Node>, scope: &Scope, notes: &mut Notes) {
        for node in nodes {
            match node {
                Node::Directive(directive) => self.directive(directive, scope, notes),
                Node::Section(section, inner) => self.section(&section, inner, scope, notes),
            }
        }
    }

    fn directive(&mut self, directive: Directive, scope: &Scope, notes: &mut Notes) {
        match fate(&directive) {
            Fate::Carried => self.items.push(Item { scope: scope.clone(), directive }),
            Fate::Idle(group) => notes.idle(&directive, group),
            Fate::Differs(what) => notes.differs(&directive, what),
            Fate::Lost(what) => notes.lost(&directive, what),
        }
    }

    fn section(&mut self, section: &Directive, inner: Vec<Node>, scope: &Scope, notes: &mut Notes) {
        let url = section.word(0);
        match section.name.to_ascii_lowercase().as_str() {
            "directory" | "directorymatch" | "files" | "filesmatch" => {
                notes.idle(section, "sections for files, which do not count for what is passed on");
            }
            "location" if is_status(&inner) => notes.idle(section, STATUS),
            "location" if url != "~" && *scope == Scope::Server => {
                self.take(inner, &Scope::Location(url.to_owned()), notes);
            }
            "proxy" if url != "~" && *scope == Scope::Server => {
                self.take(inner, &Scope::Proxy(url.to_owned()), notes);
            }
            // What they join is noted line by line.
            "requireall" | "requireany" | "requirenone" | "limit" | "limitexcept" => {
                self.take(inner, scope, notes);
            }
            _ if says_nothing(&inner) => {
                notes.idle(section, "sections without anything in them that counts here");
            }
            _ => {
                let lines = if inner.len() == 1 { "line" } else { "lines" };
                notes.lost(
                    section,
                    format!(
                        "what stands in such a section ({} {lines}) does not count here; write it for all requests, or \
                         let the target do it",
                        inner.len()
                    ),
                );
            }
        }
    }
}

/// Whether a section is one of httpd's own pages.
fn is_status(nodes: &[Node]) -> bool {
    const PAGES: [&str; 4] = ["server-status", "server-info", "balancer-manager", "ldap-status"];
    nodes.iter().any(|node| {
        matches!(node, Node::Directive(directive)
            if directive.is("SetHandler") && PAGES.iter().any(|page| directive.word(0).eq_ignore_ascii_case(page)))
    })
}

/// Whether everything in a section is without meaning here.
fn says_nothing(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| match node {
        Node::Directive(directive) => matches!(fate(directive), Fate::Idle(_)),
        Node::Section(_, inner) => says_nothing(inner),
    })
}

/// A server as a request meets it: a virtual host with what it has from the main server, or the main server.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The main server.
    pub main: &'a Server,
    /// The virtual host.
    pub host: Option<&'a Server>,
}

impl<'a> View<'a> {
    /// The items of the virtual host, then those of the main server.
    pub fn items(self) -> impl Iterator<Item = &'a Item> {
        let own: &[Item] = self.host.map_or(&[], |host| &host.items);
        own.iter().chain(&self.main.items)
    }

    /// Every directive of that name that counts for all requests, the virtual host's own first.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'a Directive> {
        let named = move |item: &&Item| item.scope == Scope::Server && item.directive.is(name);
        self.items().filter(named).map(|item| &item.directive)
    }

    /// Those of the virtual host, or those of the main server where it has none.
    pub fn nearest(self, name: &str) -> Vec<&'a Directive> {
        let of = |server: &'a Server| -> Vec<&'a Directive> {
            View { main: server, host: None }.all(name).collect()
        };
        self.host.map(of).filter(|own| !own.is_empty()).unwrap_or_else(|| of(self.main))
    }

    /// The one that counts: the last of the virtual host, or of the main server.
    pub fn last(self, name: &str) -> Option<&'a Directive> {
        self.nearest(name).last().copied()
    }

    /// The one that counts for requests to `path`: that of the last matching `<Location>`, or else as [`View::last`].
    pub fn last_at(self, name: &str, path: &str) -> Option<&'a Directive> {
        self.at(name, path).last().copied().or_else(|| self.last(name))
    }

    /// Those of every `<Location>` that `path` lies in, the main server's first, as httpd merges them.
    pub fn at(self, name: &str, path: &str) -> Vec<&'a Directive> {
        let own: &[Item] = self.host.map_or(&[], |host| &host.items);
        let lies = |item: &&Item| match &item.scope {
            Scope::Location(location) => item.directive.is(name) && within(path, location),
            _ => false,
        };
        self.main.items.iter().chain(own).filter(lies).map(|item| &item.directive).collect()
    }

    /// What is written for `<Proxy url>`.
    pub fn of_proxy(self, name: &str, url: &str) -> Vec<&'a Directive> {
        let lies = |item: &&Item| {
            matches!(&item.scope, Scope::Proxy(own) if own.trim_end_matches('/').eq_ignore_ascii_case(url))
                && item.directive.is(name)
        };
        self.items().filter(lies).map(|item| &item.directive).collect()
    }
}

/// Whether requests to `path` and below lie in `<Location location>`, which ends at a slash.
pub fn within(path: &str, location: &str) -> bool {
    path.strip_prefix(location)
        .is_some_and(|rest| rest.is_empty() || location.ends_with('/') || rest.starts_with('/'))
}
