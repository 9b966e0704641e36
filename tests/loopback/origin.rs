//! An origin inside the test: it remembers what it was asked and answers when the test says so.

use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<String>>,
    open: Mutex<bool>,
    opened: Condvar,
}

/// Answers every request with its own path; one whose path begins with `/held` waits for [`Origin::release`].
pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Origin {
    pub fn start() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is free");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port is free");
        // The standard library's queue is shorter than what a proxy under load dials at once.
        socket.listen(1024).expect("the port is ours");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        // The threads end with the process: each waits for a peer that is gone by then.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&theirs);
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// The paths asked for so far.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().expect("no thread panics").clone()
    }

    /// Lets every held answer go, now and later.
    pub fn release(&self) {
        *self.shared.open.lock().expect("no thread panics") = true;
        self.shared.opened.notify_all();
    }
}

/// Until the peer leaves or breaks.
fn serve(stream: &TcpStream, shared: &Shared) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        }
        shared.seen.lock().expect("no thread panics").push(path.clone());
        if path.starts_with("/held") {
            let open = shared.open.lock().expect("no thread panics");
            drop(shared.opened.wait_while(open, |open| !*open).expect("no thread panics"));
        }
        write!(&mut &*stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()).ok()?;
    }
}
