//! The syntax of a source, for the regions that no scope executes: planted bugs and parts of other builds,
//! assertions, and comments that name a test.

use super::regions::{Position, Region};
use anyhow::{Context as _, ensure};
use proc_macro2::Span;
use std::cmp::Reverse;
use syn::{
    Arm, Attribute, BinOp, Block, Expr, ExprIf, ImplItem, ImplItemFn, Item, ItemFn, ItemImpl,
    ItemMod, Local, Macro, Pat, Signature, Stmt, UnOp,
    spanned::Spanned,
    visit::{self, Visit},
};

/// The words before the names of tests, in a comment at a part of the core that no scope executes.
const NAMES_TESTS: &str = "xecuted by the test";
/// Traits whose implementations make no decision: texts and encodings.
const TEXTS_AND_ENCODINGS: [&str; 5] = ["Display", "Debug", "Serialize", "Deserialize", "Visitor"];

/// A comment that names the tests of a part of the core.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// The line of the first name.
    pub(super) line: usize,
    /// The statement, arm, expression or function after the comment.
    pub(super) part: Region,
    /// Each is a test program and the path of the test in it, joined by `::`.
    pub(super) tests: Vec<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Source {
    lines: Vec<String>,
    /// Planted bugs, tests, texts, encodings, and functions that return a field.
    excluded: Vec<Region>,
    /// Assertions that fail if they are executed.
    impossible: Vec<Region>,
    pub(super) markers: Vec<Marker>,
    /// The modules that only tests and builds with planted bugs contain.
    pub(super) excluded_modules: Vec<String>,
}

impl Source {
    /// Reads a source.
    ///
    /// # Errors
    /// If it is not Rust, or if a comment names a test for nothing.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let file = syn::parse_file(text)?;
        let mut parts = Parts::default();
        parts.visit_file(&file);
        let mut source = parts.source;
        source.lines = text.lines().map(str::to_owned).collect();
        source.markers = source.find_markers(&parts.begun)?;
        Ok(source)
    }

    pub(super) fn is_excluded(&self, region: &Region) -> bool {
        self.excluded.iter().any(|part| part.covers(region))
    }

    pub(super) fn is_impossible(&self, region: &Region) -> bool {
        self.impossible.iter().any(|part| part.covers(region))
    }

    /// The text of a line.
    pub(super) fn line(&self, number: usize) -> &str {
        self.lines.get(number - 1).map_or("", |line| line.trim())
    }

    /// Whether a line contains more than a comment.
    pub(super) fn is_code(&self, number: usize) -> bool {
        let line = self.line(number);
        !line.is_empty() && !line.starts_with("//")
    }

    /// Finds the comments that name tests. A comment may have several lines; the names are those in its
    /// sentence.
    fn find_markers(&self, begun: &[Region]) -> anyhow::Result<Vec<Marker>> {
        let mut markers = Vec::new();
        let mut comment = String::new();
        for number in 1..=self.lines.len() + 1 {
            if let Some(text) = self.line(number).strip_prefix("//") {
                comment.push_str(text.trim_start_matches('/').trim());
                comment.push(' ');
                continue;
            }
            let comment = std::mem::take(&mut comment);
            let Some((_, named)) = comment.split_once(NAMES_TESTS) else {
                continue;
            };
            let named = named.split(". ").next().unwrap_or_default();
            let tests = named.split('`').skip(1).step_by(2).map(str::to_owned);
            let tests: Vec<_> = tests.collect();
            let is_named = |line: &usize| {
                let text = self.line(*line);
                tests.first().is_some_and(|test| text.contains(test))
            };
            let line = (1..number).rev().find(is_named).unwrap_or(number);
            ensure!(!tests.is_empty(), "line {line}: the comment names no test");
            // The whole arm, not its body, and the whole function, not its block.
            let parts = begun.iter().filter(|part| part.start.line == number);
            let part = parts.max_by_key(|part| (part.end, Reverse(part.start)));
            let part = *part.with_context(|| {
                format!("line {line}: the comment names a test, but no statement, arm or function follows")
            })?;
            markers.push(Marker { line, part, tests });
        }
        Ok(markers)
    }
}

/// Collects the parts of a source.
#[derive(Default)]
struct Parts {
    source: Source,
    /// Everything that a comment can precede.
    begun: Vec<Region>,
    /// The variables that have a value only if a bug is planted.
    planted: Vec<(String, Needs)>,
}

/// The value of a condition that only a planted bug causes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    True,
    False,
    Neither,
}

impl Needs {
    fn negated(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Neither => Self::Neither,
        }
    }
}

impl Parts {
    fn exclude(&mut self, part: &impl Spanned) {
        self.source.excluded.push(region(part.span()));
    }

    fn begin(&mut self, part: &impl Spanned) {
        self.begun.push(region(part.span()));
    }

    /// A function begins at its signature, after its comments and attributes.
    fn begin_function(&mut self, signature: &Signature, block: &Block) {
        // The visibility is on the same line.
        let line = region(signature.span()).start.line;
        let start = Position { line, column: 1 };
        let end = region(block.span()).end;
        self.begun.push(Region { start, end });
    }

    /// The value of a condition that needs a planted bug. Also excludes the operands that are evaluated
    /// after such a value.
    fn needs(&mut self, condition: &Expr) -> Needs {
        match condition {
            Expr::Macro(call) if is_macro(&call.mac, "planted") => Needs::True,
            Expr::Path(path) => {
                let name = path.path.get_ident();
                let mut planted = self.planted.iter().rev();
                let found = planted.find(|(one, _)| name.is_some_and(|name| name == one));
                found.map_or(Needs::Neither, |(_, needs)| *needs)
            }
            Expr::Paren(inner) => self.needs(&inner.expr),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => {
                self.needs(&unary.expr).negated()
            }
            Expr::Binary(binary) => {
                // `a && b` is true only if both are; `a || b` is false only if both are.
                let decided = match binary.op {
                    BinOp::And(_) => Needs::True,
                    BinOp::Or(_) => Needs::False,
                    _ => return Needs::Neither,
                };
                let (left, right) = (self.needs(&binary.left), self.needs(&binary.right));
                if left == decided {
                    self.exclude(&binary.right);
                }
                if left == decided || right == decided {
                    decided
                } else if left == decided.negated() && right == left {
                    left
                } else {
                    Needs::Neither
                }
            }
            _ => Needs::Neither,
        }
    }
}

impl<'ast> Visit<'ast> for Parts {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            // The definition of a macro stands for the code of each of its uses, texts included.
            Item::Macro(definition) if definition.ident.is_some() => {
                self.exclude(item);
                return;
            }
            _ => return visit::visit_item(self, item),
        };
        if is_of_other_build(attributes) {
            self.exclude(item);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if is_of_other_build(&module.attrs) && module.content.is_none() {
            self.source.excluded_modules.push(module.ident.to_string());
        }
        visit::visit_item_mod(self, module);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let name = item
            .trait_
            .as_ref()
            .and_then(|(_, path, _)| path.segments.last());
        if name.is_some_and(|name| TEXTS_AND_ENCODINGS.iter().any(|text| name.ident == text)) {
            self.exclude(item);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.planted.clear();
        self.begin_function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if let ImplItem::Fn(function) = item
            && is_of_other_build(&function.attrs)
        {
            self.exclude(item);
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.planted.clear();
        if let [Stmt::Expr(value, None)] = function.block.stmts.as_slice()
            && is_field(value)
        {
            self.exclude(function);
        }
        self.begin_function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_block(&mut self, block: &'ast Block) {
        let only = match block.stmts.as_slice() {
            [Stmt::Macro(only)] => Some(&only.mac),
            [Stmt::Expr(Expr::Macro(only), _)] => Some(&only.mac),
            _ => None,
        };
        if only.is_some_and(|only| is_macro(only, "unreachable")) {
            self.source.impossible.push(region(block.span()));
        }
        visit::visit_block(self, block);
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        self.begin(statement);
        let attributes = match statement {
            Stmt::Local(local) => &local.attrs[..],
            Stmt::Expr(Expr::If(inner), _) => &inner.attrs,
            Stmt::Expr(Expr::Block(inner), _) => &inner.attrs,
            Stmt::Expr(Expr::MethodCall(inner), _) => &inner.attrs,
            Stmt::Macro(inner) => &inner.attrs,
            _ => &[],
        };
        if is_of_other_build(attributes) {
            self.exclude(statement);
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_local(&mut self, local: &'ast Local) {
        if let (Pat::Ident(name), Some(init)) = (&local.pat, &local.init) {
            let needs = self.needs(&init.expr);
            self.planted.push((name.ident.to_string(), needs));
        }
        visit::visit_local(self, local);
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        self.begin(expression);
        if let Expr::Binary(_) = expression {
            self.needs(expression);
        }
        visit::visit_expr(self, expression);
    }

    fn visit_expr_if(&mut self, branch: &'ast ExprIf) {
        match self.needs(&branch.cond) {
            Needs::True => self.exclude(&branch.then_branch),
            Needs::False => match &branch.else_branch {
                Some((_, otherwise)) => self.exclude(otherwise),
                // Without `else`, the end of the block stands for a condition that is false.
                None => self.exclude(&branch.then_branch.brace_token.span.close()),
            },
            Needs::Neither => {}
        }
        visit::visit_expr_if(self, branch);
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        self.begin(arm);
        if is_of_other_build(&arm.attrs) {
            self.exclude(arm);
        }
        if let Some((_, guard)) = &arm.guard
            && self.needs(guard) == Needs::True
        {
            self.exclude(arm);
        }
        visit::visit_arm(self, arm);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if is_macro(call, "unreachable") {
            self.source.impossible.push(region(call.span()));
        }
        visit::visit_macro(self, call);
    }
}

/// Whether an expression is a field, or a reference to one.
fn is_field(value: &Expr) -> bool {
    match value {
        Expr::Field(field) => matches!(*field.base, Expr::Path(_)),
        Expr::Reference(reference) => is_field(&reference.expr),
        _ => false,
    }
}

fn is_macro(call: &Macro, name: &str) -> bool {
    call.path
        .segments
        .last()
        .is_some_and(|last| last.ident == name)
}

/// Whether only tests or builds with planted bugs contain an item with these attributes.
fn is_of_other_build(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let tokens = attribute
            .meta
            .require_list()
            .map(|list| list.tokens.to_string());
        attribute.path().is_ident("cfg")
            && tokens.is_ok_and(|tokens| tokens == "test" || tokens == "feature = \"mutants\"")
    })
}

/// The region of a span, with columns from 1.
fn region(span: Span) -> Region {
    let position = |of: proc_macro2::LineColumn| Position {
        line: of.line,
        column: of.column + 1,
    };
    Region {
        start: position(span.start()),
        end: position(span.end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The region of the only occurrence of a text.
    fn region_of(source: &str, part: &str) -> Region {
        assert_eq!(source.matches(part).count(), 1, "{part}");
        let at = source.find(part).expect("it occurs");
        let position = |at: usize| {
            let before = &source[..at];
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            Position {
                line: before.matches('\n').count() + 1,
                column: at - line_start + 1,
            }
        };
        Region {
            start: position(at),
            end: position(at + part.len()),
        }
    }

    /// Which of the calls of `a`, `b` and so on are excluded.
    fn excluded(body: &str) -> String {
        let text = format!("fn f() {{\n{body}\n}}");
        let source = Source::parse(&text).expect("it is Rust");
        let names = ('a'..='z').filter(|name| body.contains(&format!("{name}()")));
        let is_excluded = |name: &char| source.is_excluded(&region_of(&text, &format!("{name}()")));
        names.filter(is_excluded).collect()
    }

    #[test]
    fn branches_of_planted_bugs_are_excluded_and_no_others() {
        for (body, expected) in [
            ("if planted!(c, X) { a() } else { b() }", "a"),
            ("if crate::mutant::planted!(c, X) { a() }", "a"),
            ("if !planted!(c, X) { a() } else { b() }", "b"),
            ("if planted!(c, X) && a() { b() } else { c() }", "ab"),
            ("if a() && planted!(c, X) { b() } else { c() }", "b"),
            ("if a() && !planted!(c, X) { b() } else { c() }", ""),
            ("if !planted!(c, X) || a() { b() } else { c() }", "ac"),
            ("if a() || planted!(c, X) { b() } else { c() }", ""),
            ("if planted!(c, X) || planted!(c, Y) { a() }", "a"),
            ("if planted!(c, X) && let Some(_) = a() { b() }", "ab"),
            ("let x = planted!(c, X); if x { a() } else { b() }", "a"),
            ("let x = a(); if x { b() } else { c() }", ""),
            ("let x = !planted!(c, X); if x { a() } else { b() }", "b"),
            ("let x = planted!(c, X); let x = a(); if x { b() }", ""),
            (
                "match y { _ if planted!(c, X) => a(), _ if z => b(), _ => c() }",
                "a",
            ),
            ("#[cfg(feature = \"mutants\")] if y { a(); } b()", "a"),
            ("#[cfg(feature = \"system\")] if y { a(); } b()", ""),
        ] {
            assert_eq!(excluded(body), expected, "{body}");
        }
    }

    #[test]
    fn variable_is_planted_in_its_own_function_alone() {
        let text = "fn f() { let x = planted!(c, X); if x { a() } } fn g(x: bool) { if x { b() } }";
        let source = Source::parse(text).expect("it is Rust");
        assert!(source.is_excluded(&region_of(text, "a()")));
        assert!(!source.is_excluded(&region_of(text, "b()")));
    }

    #[test]
    fn texts_encodings_and_tests_are_excluded() {
        let text = "impl fmt::Display for A { fn fmt() { a() } }
            impl From<A> for B { fn from() { b() } }
            macro_rules! number { () => { fn d() { d() } } }
            #[cfg(test)] mod tests { fn c() { c() } }
            #[cfg(feature = \"mutants\")] mod planted;
            #[cfg(feature = \"system\")] mod system;
            mod other;";
        let source = Source::parse(text).expect("it is Rust");
        assert!(source.is_excluded(&region_of(text, "{ a() }")));
        assert!(!source.is_excluded(&region_of(text, "{ b() }")));
        assert!(source.is_excluded(&region_of(text, "{ c() }")));
        assert!(source.is_excluded(&region_of(text, "{ d() }")));
        assert_eq!(source.excluded_modules, ["planted"]);
    }

    #[test]
    fn assertion_is_impossible_and_its_neighbors_are_not() {
        let text = "fn f() { let Some(a) = b else { unreachable!(\"no\") }; match c { D => unreachable!(), _ => { e(); unreachable!() } } }";
        let source = Source::parse(text).expect("it is Rust");
        for (part, expected) in [
            ("{ unreachable!(\"no\") }", true),
            ("unreachable!(\"no\")", true),
            ("let Some(a) = b", false),
            ("e();", false),
            ("{ e(); unreachable!() }", false),
        ] {
            assert_eq!(
                source.is_impossible(&region_of(text, part)),
                expected,
                "{part}"
            );
        }
    }

    #[test]
    fn comment_covers_the_part_after_it() {
        let text = "/// Raises it.\n// A forged message, executed by the test `step::a::b`.\nfn f() {\n    g();\n}\n\nfn h() {\n    match x {\n        // Sizes, executed by the\n        // tests `lib::c` and `d::e`. Not `f`.\n        _ => i(),\n        _ => j(),\n    }\n}\n";
        let source = Source::parse(text).expect("it is Rust");
        let covers = |marker: &Marker, part| marker.part.contains(region_of(text, part).start);
        let [first, second] = source.markers.as_slice() else {
            panic!("two comments name a test: {:?}", source.markers);
        };
        assert_eq!(
            (first.tests.join(" ").as_str(), first.line),
            ("step::a::b", 2)
        );
        assert!(covers(first, "g()") && !covers(first, "i()"));
        assert_eq!(
            (second.tests.join(" ").as_str(), second.line),
            ("lib::c d::e", 10)
        );
        assert!(covers(second, "i()") && !covers(second, "j()"));
    }

    #[test]
    fn comment_without_a_part_is_an_error() {
        let text = "fn f() {\n    g();\n    // It is executed by the test `a::b`.\n}\n";
        let error = Source::parse(text).expect_err("nothing follows");
        assert!(error.to_string().contains("line 3"), "{error}");
    }
}
