//! `explore`: stateright's Explorer on a scope, in a browser.

use super::{
    Exit,
    selection::{self, Bounds},
};
use anyhow::{Context, bail};
use model::{
    mutant::Mutant,
    system::{RaftModel, Reduction},
};
use stateright::Model;
use std::{
    io::{self, ErrorKind, Write},
    net::{SocketAddr, TcpListener, ToSocketAddrs},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The scope to walk through
    #[arg(long, value_name = "NAME", default_value = "crashes", value_parser = selection::names())]
    scope: String,
    #[command(flatten)]
    bounds: Bounds,
    /// Plants a bug in every server
    #[arg(long, value_name = "NAME", value_parser = selection::mutants(), hide_possible_values = true)]
    mutant: Option<Mutant>,
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    address: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let named = selection::named(&args.scope)?;
    let mut scope = args.bounds.applied_to(&named)?.scope;
    scope.mutant = args.mutant;
    // A person wants to see every event as a step of its own.
    scope.reduction = Reduction::NONE;
    let address = free_address(&args.address)?;
    // The Explorer prefers files of the working directory's `ui` to its own.
    std::env::set_current_dir("/").context("cannot leave the working directory")?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "Exploring {} at http://{address}/ (Ctrl-C stops it)",
        args.scope
    )?;
    out.flush()?;
    drop(out);
    // Serves for as long as the process lives.
    let _checker = RaftModel::new(scope, false).checker().serve(address);
    Ok(Exit::Passed)
}

/// The address that `text` means, which nobody listens on yet: the Explorer panics where it cannot
/// listen.
fn free_address(text: &str) -> anyhow::Result<SocketAddr> {
    let resolved = text.to_socket_addrs().ok();
    let Some(address) = resolved.and_then(|mut addresses| addresses.next()) else {
        bail!("{text} is no address to listen on: write HOST:PORT, such as 127.0.0.1:3000");
    };
    match TcpListener::bind(address) {
        Ok(listener) => Ok(listener.local_addr()?),
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "{address} is in use: stop what listens there, or give another --address (port 0 takes any free one)"
        ),
        Err(error) => Err(error).with_context(|| {
            format!("cannot listen on {address}: give an --address of this machine")
        }),
    }
}
