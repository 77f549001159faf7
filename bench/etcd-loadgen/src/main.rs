//! Load generator for an etcd v3 cluster (gRPC over h2, protobuf encoded by hand, single-threaded).
//!
//!   etcd-loadgen load     --endpoints H:P,.. --op put|get|sget --clients N --conns C --vsize B
//!                    --secs S --warm W --keys K --pids p,p,p [--tag T]
//!   etcd-loadgen fill     --endpoints H:P --keys K --vsize B
//!   etcd-loadgen failover --endpoints H:P,.. (survivors) --pid P --sig KILL|STOP --interval-ms I [--vsize B] [--tag T]
//!
//! One JSON line per run on stdout. Latencies in microseconds; CPU from /proc/PID/stat (10 ms ticks).
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

type Err = Box<dyn std::error::Error>;

// ---------- protobuf / gRPC framing ----------
fn varint(b: &mut BytesMut, mut v: u64) {
    while v >= 0x80 {
        b.put_u8(v as u8 | 0x80);
        v >>= 7;
    }
    b.put_u8(v as u8);
}
fn frame(key: &[u8], val: Option<&[u8]>, serializable: bool) -> Bytes {
    let mut b = BytesMut::with_capacity(32 + key.len() + val.map_or(0, |v| v.len()));
    b.put_bytes(0, 5);
    b.put_u8(0x0a);
    varint(&mut b, key.len() as u64);
    b.put_slice(key);
    if let Some(v) = val {
        b.put_u8(0x12);
        varint(&mut b, v.len() as u64);
        b.put_slice(v);
    }
    if serializable {
        b.put_slice(&[0x38, 1]); // RangeRequest.serializable = 7
    }
    let n = (b.len() - 5) as u32;
    b[1..5].copy_from_slice(&n.to_be_bytes());
    b.freeze()
}

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";

#[derive(Clone)]
struct Conn {
    tx: SendRequest<Bytes>,
    put: http::Uri,
    range: http::Uri,
}
async fn dial(ep: &str) -> Result<Conn, Err> {
    let s = tokio::net::TcpStream::connect(ep).await?;
    s.set_nodelay(true)?;
    let (tx, c) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .handshake::<_, Bytes>(s)
        .await?;
    tokio::task::spawn_local(async move {
        let _ = c.await;
    });
    Ok(Conn {
        tx,
        put: format!("http://{ep}{PUT}").parse()?,
        range: format!("http://{ep}{RANGE}").parse()?,
    })
}
/// Makes one unary call. Returns the number of bytes in the reply body, or the reason of the failure.
async fn call(c: &Conn, is_put: bool, body: Bytes) -> Result<usize, String> {
    let es = |e: h2::Error| e.to_string();
    let mut tx = c.tx.clone();
    poll_fn(|cx| tx.poll_ready(cx)).await.map_err(es)?;
    let rq = http::Request::post(if is_put { c.put.clone() } else { c.range.clone() })
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (rsp, mut st) = tx.send_request(rq, false).map_err(es)?;
    st.send_data(body, true).map_err(es)?;
    let rsp = rsp.await.map_err(es)?;
    if let Some(s) = rsp.headers().get("grpc-status") {
        if s != "0" {
            return Err(format!("{:?} {:?}", s, rsp.headers().get("grpc-message")));
        }
    }
    let mut b = rsp.into_body();
    let mut n = 0;
    while let Some(d) = b.data().await {
        let d = d.map_err(es)?;
        n += d.len();
        let _ = b.flow_control().release_capacity(d.len());
    }
    if let Some(t) = b.trailers().await.map_err(es)? {
        if let Some(s) = t.get("grpc-status") {
            if s != "0" {
                return Err(format!("{:?} {:?}", s, t.get("grpc-message")));
            }
        }
    }
    Ok(n)
}

// ---------- /proc ----------
fn tick() -> f64 {
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}
fn proc_cpu(pid: &str) -> f64 {
    let s = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let f: Vec<&str> = s.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    if f.len() < 13 {
        return 0.0;
    }
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / tick()
}
fn self_cpu() -> f64 {
    unsafe {
        let mut r: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut r);
        (r.ru_utime.tv_sec + r.ru_stime.tv_sec) as f64 + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) as f64 / 1e6
    }
}
/// The (busy, steal) CPU time of the whole machine in seconds.
fn machine_cpu() -> (f64, f64) {
    let s = std::fs::read_to_string("/proc/stat").unwrap();
    let v: Vec<f64> = s.lines().next().unwrap().split_whitespace().skip(1).map(|x| x.parse().unwrap()).collect();
    ((v[0] + v[1] + v[2] + v[5] + v[6]) / tick(), v[7] / tick())
}
fn status_kb(pid: &str, key: &str) -> u64 {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_default()
        .lines()
        .find(|l| l.starts_with(key))
        .and_then(|l| l.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
fn io_bytes(pid: &str) -> u64 {
    std::fs::read_to_string(format!("/proc/{pid}/io"))
        .unwrap_or_default()
        .lines()
        .find(|l| l.starts_with("write_bytes:"))
        .and_then(|l| l.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
fn key(i: u64) -> [u8; 16] {
    let mut k = *b"bench/0000000000";
    let s = format!("{i:010}");
    k[6..].copy_from_slice(s.as_bytes());
    k
}
fn q(v: &[u32], p: f64) -> f64 {
    if v.is_empty() {
        return 0.0;
    }
    v[((p * v.len() as f64) as usize).min(v.len() - 1)] as f64 / 10.0 // stored in 0.1 us
}

struct Args(HashMap<String, String>);
impl Args {
    fn s(&self, k: &str, d: &str) -> String {
        self.0.get(k).cloned().unwrap_or(d.into())
    }
    fn n(&self, k: &str, d: f64) -> f64 {
        self.0.get(k).map_or(d, |v| v.parse().unwrap())
    }
    fn list(&self, k: &str) -> Vec<String> {
        self.s(k, "").split(',').filter(|x| !x.is_empty()).map(String::from).collect()
    }
}

async fn load(a: &Args) -> Result<(), Err> {
    let eps = a.list("endpoints");
    let op = a.s("op", "put");
    let clients = a.n("clients", 1.0) as usize;
    let conns = (a.n("conns", 8.0) as usize).min(clients).max(1);
    let (vsize, keys) = (a.n("vsize", 64.0) as usize, a.n("keys", 10000.0) as u64);
    let (secs, warm) = (a.n("secs", 10.0), a.n("warm", 2.0));
    let pids = a.list("pids");
    let mut cs = vec![];
    for i in 0..conns {
        cs.push(dial(&eps[i % eps.len()]).await?);
    }
    let (is_put, ser) = (op == "put", op == "sget");
    let lat: Rc<RefCell<Vec<u32>>> = Rc::new(RefCell::new(Vec::with_capacity(4_000_000)));
    let errs: Rc<RefCell<HashMap<String, u64>>> = Default::default();
    let on = Rc::new(Cell::new(false));
    let stop = Rc::new(Cell::new(false));
    let mut hs = vec![];
    for i in 0..clients {
        let (c, lat, errs, on, stop) = (cs[i % conns].clone(), lat.clone(), errs.clone(), on.clone(), stop.clone());
        hs.push(tokio::task::spawn_local(async move {
            let mut r = Rng(0x9e3779b97f4a7c15u64.wrapping_mul(i as u64 + 1) | 1);
            let mut val = vec![0u8; vsize];
            while !stop.get() {
                let k = key(r.next() % keys);
                let body = if is_put {
                    for ch in val.chunks_mut(8) {
                        let x = r.next().to_le_bytes();
                        let n = ch.len();
                        ch.copy_from_slice(&x[..n]);
                    }
                    frame(&k, Some(&val), false)
                } else {
                    frame(&k, None, ser)
                };
                let was_on = on.get();
                let t = Instant::now();
                match call(&c, is_put, body).await {
                    Ok(_) => {
                        if was_on && !stop.get() {
                            lat.borrow_mut().push((t.elapsed().as_nanos() / 100) as u32);
                        }
                    }
                    Err(e) => {
                        *errs.borrow_mut().entry(e).or_default() += 1;
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        }));
    }
    tokio::time::sleep(Duration::from_secs_f64(warm)).await;
    let c0: Vec<f64> = pids.iter().map(|p| proc_cpu(p)).collect();
    let w0: u64 = pids.iter().map(|p| io_bytes(p)).sum();
    let (s0, m0) = (self_cpu(), machine_cpu());
    on.set(true);
    let t0 = Instant::now();
    tokio::time::sleep(Duration::from_secs_f64(secs)).await;
    stop.set(true);
    let el = t0.elapsed().as_secs_f64();
    let c1: Vec<f64> = pids.iter().map(|p| proc_cpu(p)).collect();
    let w1: u64 = pids.iter().map(|p| io_bytes(p)).sum();
    let (s1, m1) = (self_cpu(), machine_cpu());
    let mut v = lat.borrow().clone();
    v.sort_unstable();
    let n = v.len() as f64;
    let cpu: Vec<f64> = c0.iter().zip(&c1).map(|(a, b)| b - a).collect();
    let tot: f64 = cpu.iter().sum();
    let fmt = |x: Vec<String>| x.join(",");
    println!(
        "{{\"sys\":\"{}\",\"op\":\"{op}\",\"clients\":{clients},\"conns\":{conns},\"vsize\":{vsize},\"secs\":{el:.2},\"ops_s\":{:.0},\"p50\":{:.0},\"p90\":{:.0},\"p99\":{:.0},\"p999\":{:.0},\"max\":{:.0},\"errs\":{},\"srv_cpu_us_op\":{:.1},\"srv_cpu_s\":[{}],\"rss_mb\":[{}],\"anon_mb\":[{}],\"write_b_op\":{:.0},\"gen_cpu_us_op\":{:.1},\"foreign_cores\":{:.2},\"steal_cores\":{:.2}}}",
        a.s("tag", "etcd"), n / el, q(&v, 0.5), q(&v, 0.9), q(&v, 0.99), q(&v, 0.999), q(&v, 1.0),
        errs.borrow().values().sum::<u64>(), tot * 1e6 / n,
        fmt(cpu.iter().map(|x| format!("{x:.2}")).collect()),
        fmt(pids.iter().map(|p| (status_kb(p, "VmRSS") / 1024).to_string()).collect()),
        fmt(pids.iter().map(|p| (status_kb(p, "RssAnon") / 1024).to_string()).collect()),
        (w1 - w0) as f64 / n, (s1 - s0) * 1e6 / n,
        ((m1.0 - m0.0) - tot - (s1 - s0)).max(0.0) / el, (m1.1 - m0.1) / el
    );
    for (e, n) in errs.borrow().iter() {
        eprintln!("error x{n}: {e}");
    }
    Ok(())
}

async fn fill(a: &Args) -> Result<(), Err> {
    let keys = a.n("keys", 10000.0) as u64;
    let val = vec![7u8; a.n("vsize", 64.0) as usize];
    let c = dial(&a.list("endpoints")[0]).await?;
    let mut hs = vec![];
    for w in 0..64 {
        let (c, val) = (c.clone(), val.clone());
        hs.push(tokio::task::spawn_local(async move {
            for i in (w..keys).step_by(64) {
                call(&c, true, frame(&key(i), Some(&val), false)).await.unwrap();
            }
        }));
    }
    for h in hs {
        h.await?;
    }
    Ok(())
}

/// Open-loop writes (at each interval, to each survivor, each with a timeout of 1 s). Signals the
/// victim, and reports the time from the signal to the first acknowledged write that was issued after
/// it.
async fn failover(a: &Args) -> Result<(), Err> {
    let eps = a.list("endpoints");
    let pid = a.n("pid", 0.0) as i32;
    let sig = if a.s("sig", "KILL") == "STOP" { libc::SIGSTOP } else { libc::SIGKILL };
    let iv = Duration::from_secs_f64(a.n("interval-ms", 5.0) / 1e3);
    let vsize = a.n("vsize", 64.0) as usize;
    let mut cs = vec![];
    for e in &eps {
        cs.push(dial(e).await?);
    }
    let acks: Rc<RefCell<Vec<(Instant, Instant)>>> = Default::default(); // (issued, acknowledged)
    let fails: Rc<RefCell<Vec<Instant>>> = Default::default(); // issue times
    let t_start = Instant::now();
    let kill_at = t_start + Duration::from_secs(2);
    let mut killed: Option<Instant> = None;
    let mut tk = tokio::time::interval(iv);
    tk.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut i = 0u64;
    let mut done_at: Option<Instant> = None;
    loop {
        tk.tick().await;
        let now = Instant::now();
        if killed.is_none() && now >= kill_at {
            if unsafe { libc::kill(pid, sig) } != 0 {
                return Err("kill failed".into());
            }
            killed = Some(Instant::now());
        }
        for c in &cs {
            i += 1;
            let (c, acks, fails) = (c.clone(), acks.clone(), fails.clone());
            let val = vec![i as u8; vsize];
            tokio::task::spawn_local(async move {
                let t = Instant::now();
                match tokio::time::timeout(Duration::from_secs(1), call(&c, true, frame(&key(i % 10000), Some(&val), false))).await {
                    Ok(Ok(_)) => acks.borrow_mut().push((t, Instant::now())),
                    _ => fails.borrow_mut().push(t),
                }
            });
        }
        if let Some(k) = killed {
            if done_at.is_none() && acks.borrow().iter().rev().take(50).any(|(s, _)| *s > k) {
                done_at = Some(now);
            }
            if done_at.map_or(now > k + Duration::from_secs(30), |d| now > d + Duration::from_millis(1500)) {
                break;
            }
        }
    }
    let k = killed.unwrap();
    let mut v = acks.borrow().clone();
    v.sort_by_key(|x| x.1);
    let first = v.iter().find(|(s, _)| *s > k).map_or(-1.0, |x| (x.1 - k).as_secs_f64() * 1e3);
    let gap = v.windows(2).map(|w| (w[1].1 - w[0].1).as_secs_f64() * 1e3).fold(0.0, f64::max);
    let lost_before = fails.borrow().iter().filter(|t| **t <= k).count();
    let lost_after = fails.borrow().iter().filter(|t| **t > k).count();
    println!(
        "{{\"sys\":\"{}\",\"op\":\"failover\",\"sig\":\"{}\",\"first_write_ms\":{first:.1},\"longest_gap_ms\":{gap:.1},\"issued\":{i},\"acked\":{},\"timed_out_issued_before\":{lost_before},\"timed_out_issued_after\":{lost_after}}}",
        a.s("tag", "etcd"), a.s("sig", "KILL"), v.len()
    );
    Ok(())
}

fn main() -> Result<(), Err> {
    let mut it = std::env::args().skip(1);
    let cmd = it.next().ok_or("load|fill|failover")?;
    let mut m = HashMap::new();
    while let Some(k) = it.next() {
        m.insert(k.trim_start_matches("--").to_string(), it.next().ok_or("value missing")?);
    }
    let a = Args(m);
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&rt, async {
        match cmd.as_str() {
            "load" => load(&a).await,
            "fill" => fill(&a).await,
            "failover" => failover(&a).await,
            _ => Err("load|fill|failover".into()),
        }
    })
}
