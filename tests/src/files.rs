//! A server for the browser app's own tests: the app under `/ui/` as the programs serve it, the tests
//! under `/tests/`. It implements only the subset of HTTP that a browser needs.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
};

/// Serves until the process ends; returns `http://ADDRESS:PORT`.
///
/// # Panics
/// If no port is available.
pub fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser may close the connection early.
            thread::spawn(move || answer(stream));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    for line in lines.map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1)?.split(['?', '#']).next()?;
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui");
    let file = match path.strip_prefix("/ui/") {
        Some(rest) => ui.join("assets").join(rest),
        None => ui.join(path.trim_start_matches('/')),
    };
    let kind = match file.extension().and_then(|end| end.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    let (status, body) = match fs::read(&file) {
        _ if path.contains("..") => ("403 Forbidden", Vec::new()),
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}
