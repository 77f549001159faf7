//! What a broken law looks like on the screen.

use model::system::{Broken, Scope, System};
use std::io::Write;

/// Says which law is broken in a scope, why, and how far from the start. `path` leads from an
/// initial system to the one whose next step breaks the law.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn report_violation(
    out: &mut dyn Write,
    scope: &Scope,
    broken: &Broken,
    path: &[System],
) -> anyhow::Result<()> {
    writeln!(out, "{}: {} is violated", scope.name, broken.law)?;
    writeln!(out, "  {}", broken.why)?;
    writeln!(out, "  after {} steps", path.len())?;
    Ok(())
}
