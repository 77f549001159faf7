#!/usr/bin/env python3
"""Tests of the scripts in `.ci`: inputs that they must reject, and inputs that they must accept."""

import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import unittest

CI = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(CI))


def load(name):
    loader = importlib.machinery.SourceFileLoader(name, str(CI / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


commits, cycles, prose, seams = (load(name) for name in ("commits", "cycles", "prose", "seams"))


def run_in_repository(script, files):
    """Runs a script in a repository with these files: its exit code and its output."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in files.items():
            path = pathlib.Path(directory, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for command in (["git", "init", "-q"], ["git", "add", "."]):
            subprocess.run(command, cwd=directory, check=True)
        command = [sys.executable, "-B", str(CI / script)]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


class Cycles(unittest.TestCase):
    def cycles_of(self, files):
        sources = {pathlib.PurePosixPath(name): text for name, text in files.items()}
        found = cycles.components(cycles.Crate(sources).graph())
        return [[str(path) for path in cycle] for cycle in found]

    def rejects(self, files, *cycle):
        self.assertEqual(self.cycles_of(files), [sorted(cycle or ("a.rs", "b.rs"))])

    def accepts(self, a, **others):
        """`b.rs` imports `a.rs`, so an import of `b` by this text would make a cycle."""
        files = {"lib.rs": "mod a;\nmod b;", "a.rs": a, "b.rs": "use crate::a::A;\npub struct B;"}
        self.assertEqual(self.cycles_of(files | others), [])

    def test_plain_imports_and_paths(self):
        b = "use crate::a::A;\npub struct B;"
        for a in (
            "use crate::b::B;",
            "use crate::{\n    b::{B, C},\n};",
            "pub(crate) use super::b::B;",
            "#[allow(unused)] use crate::{b::B};",
            "fn f() { crate::b::f() }",
            "fn f() {\n    use crate::b::B;\n}",
            "use crate::b as other;\nfn f() { other::f() }",
            "mod inner {\n    use super::super::b::B;\n}",
        ):
            with self.subTest(a):
                self.rejects({"lib.rs": "mod a;\nmod b;", "a.rs": a, "b.rs": b})

    def test_tests_hide_only_themselves(self):
        b = "use crate::a::A;\npub struct B;"
        for before in (
            "#[cfg(test)]\nmod tests;\n",
            "#[cfg(test)]\nuse x::{y, z};\n",
            '#[cfg(all(test, feature = "x"))]\nmod tests {\n    fn f() {}\n}\n',
            "#[cfg(test)]\nmod tests {\n    const BRACE: char = '{';\n    const MORE: &str = \"{\";\n}\n",
            "#[cfg(not(test))]\n",
            "#[cfg(any(test, unix))]\n",
            '#[cfg(all(not(test), unix))]\n',
            'const URL: &str = "http://example.org"; ',
            "/* a comment /* in a comment */ */\n",
            "const START: &str = \"/*\";\n",
        ):
            with self.subTest(before):
                a = f"{before}use crate::b::B;\n// */"
                self.rejects({"lib.rs": "mod a;\nmod b;", "a.rs": a, "b.rs": b})

    def test_reexports(self):
        for root, a in (
            ("pub use b::B;", "use crate::B;"),
            ("pub use b::B as Other;", "use crate::Other;"),
            ("pub use b::*;", "fn f() { crate::B::f() }"),
            ("use b::B;", "use super::*;\nfn f(_: B) {}"),
            ("pub use self::b as other;", "use crate::other;\nfn f() { other::f() }"),
        ):
            with self.subTest(root + a):
                files = {"a.rs": a, "b.rs": "use crate::a::A;\npub struct B;"}
                self.rejects({"lib.rs": f"mod a;\nmod b;\n{root}"} | files)

    def test_reexports_of_modules_with_children(self):
        files = {
            "lib.rs": "mod a;\nmod m;",
            "m/mod.rs": "mod x;\nmod y;\npub use x::X;",
            "m/x.rs": "pub struct X;\nuse super::y::Y;",
            "m/y.rs": "pub struct Y;\nuse super::X;",
        }
        self.rejects(files, "m/x.rs", "m/y.rs")
        files |= {"a.rs": "use crate::m;\nfn f() { m::y::f() }", "m/x.rs": "pub struct X;"}
        self.rejects(files | {"m/y.rs": "use crate::a::A;"}, "a.rs", "m/y.rs")

    def test_longer_cycles(self):
        files = {"lib.rs": "", "a.rs": "use crate::b::B;", "b.rs": "use crate::c::C;"}
        self.rejects(files | {"c.rs": "use crate::a::A;"}, "a.rs", "b.rs", "c.rs")

    def test_no_imports(self):
        for a in (
            "pub struct A;",
            "#[cfg(test)]\nuse crate::b::B;",
            "#[cfg(test)]\n#[allow(unused)]\nmod tests {\n    use crate::b::B;\n}",
            "#[cfg(test)]\n#[allow(unused)]\nfn f<X, Y>() { crate::b::f() }",
            "#[cfg(all(test, unix))]\nmod tests {\n    use crate::b::B;\n}",
            "#[cfg(all(unix, test))]\nfn f() { crate::b::f() }",
            'const PATH: &str = "crate::b::B";',
            'const PATH: &str = r#"\nuse crate::b::B;\n"#;',
            "/*\nuse crate::b::B;\n*/",
            "/* /* */\nuse crate::b::B;\n*/",
            "// use crate::b::B;",
            "use other::b::B;\nfn f() { other::b::f() }",
        ):
            with self.subTest(a):
                self.accepts(a)

    def test_files_of_tests(self):
        files = {
            "one.rs": "use crate::two::part::P;",
            "two/mod.rs": "mod part;",
            "two/part.rs": "use crate::one::O;",
        }
        root = {"lib.rs": "#[cfg(test)]\nmod one;\n#[cfg(test)]\nmod two;"}
        self.assertEqual(self.cycles_of(files | root), [])
        self.rejects(files | {"lib.rs": "mod one;\nmod two;"}, "one.rs", "two/part.rs")

    def test_submodules_are_parts_of_their_parents(self):
        self.accepts("mod part;\nuse part::P;", **{"a/part.rs": "use super::*;\nuse crate::a::A;"})

    def test_scripts(self):
        def found(a, b):
            sources = {"ui/x/a.js": a, "ui/b.js": b}
            sources = {pathlib.PurePosixPath(path): text for path, text in sources.items()}
            return len(cycles.components(cycles.script_graph(sources)))

        b = "export * from './x/a.js';"
        for a in (
            "import {\n    one,\n    two,\n} from '../b.js';",
            "/* a comment */ import '../b.js';",
            'export { one } from "../b.js";',
            "const b = await import('../b.js');",
            "const url = 'http://example.org';\nimport '../b.js';",
        ):
            with self.subTest(a):
                self.assertEqual(found(a, b), 1)
        for a in (
            "/*\nimport '../b.js';\n*/",
            "// import '../b.js';",
            "const TEXT = `\nimport '../b.js';\n`;",
            "export const UP = '../b.js';",
            "import { x } from '../../../../../../../../x';",
        ):
            with self.subTest(a):
                self.assertEqual(found(a, b), 0)

    def test_exit_code(self):
        files = {"one/src/lib.rs": "mod a;\nmod b;", "one/src/a.rs": "use crate::b::B;"}
        code, output = run_in_repository("cycles", files | {"one/src/b.rs": "pub struct B;"})
        self.assertEqual((code, output), (0, "3 files, 0 cycles\n"))
        code, output = run_in_repository("cycles", files | {"one/src/b.rs": "use crate::a::A;"})
        self.assertEqual(code, 1)
        self.assertIn("one/src/a.rs imports one/src/b.rs", output)
        self.assertEqual(run_in_repository("cycles", {"README.md": ""})[0], 1)


class Seams(unittest.TestCase):
    def findings(self, source, path="node/src/example.rs"):
        return list(seams.findings(path, source))

    def test_uses_of_the_system(self):
        for name, source in (
            ("the clock", "fn f() { std::time::Instant::now() }"),
            ("the clock", "use std::time::Instant as Moment;\nfn f() { Moment::now() }"),
            ("the clock", '#[cfg(test)]\nmod tests;\nconst URL: &str = "http://x"; fn f() { Instant::now() }'),
            ("random numbers", "use rand::{random, rng};"),
            ("random numbers", "fn f() { rand::random() }"),
            ("sockets", "fn f() { socket2::Socket::new() }"),
            ("sockets", "use socket2::Socket;\nfn f() { Socket::new() }"),
            ("sockets", "use tokio::net::UdpSocket;\nfn f() { UdpSocket::bind() }"),
            ("files", "use std::fs::{read, remove_file};\nfn f() { remove_file(p) }"),
            ("files", "use std::fs::read_to_string;"),
            ("files", "use std::fs::*;"),
            ("files", "use std::fs;\nfn f() { paths.map(fs::read) }"),
            ("files", "fn f() { File::options() }"),
            ("files", "fn f() { std::fs::File::create_new(p) }"),
            ("threads", "use std::thread::{self, sleep};"),
            ("threads", "use std::thread as system;\nfn f() { system::spawn(g) }"),
            ("threads", "fn f() { tokio::task::spawn_blocking(g) }"),
        ):
            with self.subTest(source):
                self.assertEqual({rule for _, rule in self.findings(source)}, {name})

    def test_lines(self):
        source = '/*\n*/ const A: &str = "\n";\n#[cfg(test)]\nuse x::{\n    y,\n};\nfn f() { Instant::now() }\n'
        self.assertEqual(self.findings(source), [(8, "the clock")])

    def test_the_clock_beside_that_of_tokio(self):
        for source, is_found in (
            ("use std::time::{Duration, Instant};", True),
            ("use std::{fmt, time::{self, Duration}};\nfn f() { time::Instant::now() }", True),
            ("use std::time;\nfn f() { time::SystemTime::now() }", True),
            ("use std::time::Duration;\nuse tokio::time::Instant;\nfn f() { Instant::now() }", False),
        ):
            with self.subTest(source):
                self.assertEqual(bool(self.findings(source, "proxy/src/example.rs")), is_found)

    def test_no_uses_of_the_system(self):
        for source in (
            'const TEXT: &str = "Instant::now()";',
            'const TEXT: &str = r#"fs::read(p)"#;',
            "/* Instant::now() */",
            "// Instant::now()",
            "#[cfg(test)]\nfn helper() { Instant::now() }",
            "#[cfg(test)]\nuse std::fs::read;",
            "#[cfg(test)]\nmod tests {\n    fn f() { std::fs::read(p) }\n}",
            "use std::fs::{File, Metadata};\nfn f(file: &File) { file.read() }",
            "use crate::disk::read;\nfn f() { read(p) }",
            "use std::{io, thread, time::{Duration, Instant}};\nfn f(now: Instant) { thread::current() }",
        ):
            with self.subTest(source):
                self.assertEqual(self.findings(source), [])

    def test_files(self):
        for path in ("node/src/tests.rs", "node/src/a/test.rs", "node/src/a/tests/log.rs"):
            self.assertTrue(seams.TEST_FILE.search(path), path)
        for path in ("node/src/latest.rs", "node/src/contests.rs", "node/src/tests_of.rs"):
            self.assertFalse(seams.TEST_FILE.search(path), path)

    def test_exit_code(self):
        owners = seams.PROGRAM.union(*(owners for _, _, owners in seams.RULES))
        files = dict.fromkeys(owners, "") | {"web/src/lib.rs": "pub struct Page;"}
        self.assertEqual(run_in_repository("seams", files)[0], 0)
        files["web/src/page.rs"] = "\nfn f() { std::fs::read(p) }"
        code, output = run_in_repository("seams", files)
        self.assertEqual(code, 1)
        self.assertIn("web/src/page.rs:2 uses files of the system: fn f() { std::fs::read(p) }", output)
        del files["transport/src/key.rs"], files["web/src/page.rs"]
        self.assertEqual(run_in_repository("seams", files)[0], 1)


class Commits(unittest.TestCase):
    def test_subjects(self):
        for subject, is_right in (
            ("node: write the trace first", True),
            ("client, proxy: embed the page", True),
            ("a-b/c: pass", True),
            ("node: " + "a" * 66, True),
            ("node: " + "a" * 67, False),
            ("node: writes the trace", False),
            ("node: renamed a file", False),
            ("node: renaming a file", False),
            ("node: write.", False),
            ("Node: write", False),
            ("node write", False),
            ("node:", False),
        ):
            with self.subTest(subject):
                self.assertEqual(commits.subject_problem(subject) is None, is_right)

    def run_git(self, directory, *arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout.strip()

    def check(self, directory, *arguments):
        command = [sys.executable, "-B", str(CI / "commits"), *arguments]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def commit(self, directory, lines, *message):
        pathlib.Path(directory, "a.rs").write_text("x\n" * lines, encoding="utf-8")
        self.run_git(directory, "add", ".")
        arguments = [part for text in message for part in ("-m", text)]
        self.run_git(directory, "commit", "-q", *arguments)
        return self.run_git(directory, "rev-parse", "HEAD")

    def test_history(self):
        with tempfile.TemporaryDirectory() as parent:
            full = pathlib.Path(parent, "full")
            full.mkdir()
            self.run_git(full, "init", "-q")
            first = self.commit(full, 1000, "Started without a rule")
            self.commit(full, 1030, "a: add a few lines")
            self.assertEqual(self.check(full, first), (0, "1 commits, 0 wrong\n"))
            second = self.commit(full, 1100, "a: add lines", "They are needed.")
            self.assertEqual(self.check(full, first), (0, "2 commits, 0 wrong\n"))
            # The revisions of this project are unknown here.
            self.assertEqual(self.check(full)[0], 1)

            # The oldest commit of a shallow clone seems to add every line.
            shallow = pathlib.Path(parent, "shallow")
            self.run_git(parent, "clone", "-q", "--depth", "2", full.as_uri(), str(shallow))
            self.assertEqual(self.check(shallow), (0, "2 commits, 0 wrong\n"))
            self.assertEqual(self.check(shallow, second), (0, "0 commits, 0 wrong\n"))

            self.commit(full, 1200, "a: add more lines")
            code, output = self.check(full, second)
            self.assertEqual(code, 1)
            self.assertIn("a: add more lines: 100 changed lines of programs and no body", output)
            self.commit(full, 1201, "One more line")
            self.assertIn("One more line: not of the form", self.check(full, second)[1])


class Locations(unittest.TestCase):
    FILES = {
        "ARCHITECTURE.md": "## Where to look\n\n| topic | file | names |\n|---|---|---|\n| a | `a/x.rs` | `X` |\n",
        "docs/glossary.md": "# Glossary\n",
        "a/x.rs": "struct X;\n#[arg(long)]\nsome_flag: u8,\n#[arg(long = \"other\")]\n",
        ".gitignore": "a/data\n",
        "docs/b.md": "# One `two` three\n\n## Again\n## Again\n",
    }

    def run_with(self, text):
        return run_in_repository("locations", self.FILES | {"docs/a.md": text})

    def test_accepts(self):
        for text in (
            "See [b](b.md#one-two-three), [again](b.md#again-1) and `a/x.rs`.",
            "`docs/b.md#again` and `--some-flag 5`, `--other`",
            "`cargo build --release`",
            "`a/NAME.rs` is a pattern, and `a/data` is ignored",
            "`{target}/x`, `https://x.org/a/b`, `/v1/kv`, and `a/*.rs`",
            "```\ncargo run --no-such-flag\n```\n",
        ):
            with self.subTest(text):
                self.assertEqual(self.run_with(text), (0, "1 rows, 0 wrong\n"))

    def test_rejects(self):
        for text, problem in (
            ("[b](b.md#two)", "b.md has no heading #two"),
            ("[b](#none)", "a.md has no heading #none"),
            ("`docs/b.md#none`", "b.md has no heading #none"),
            ("`docs/missing`", "there is no docs/missing"),
            ("`a/y.py`", "there is no a/y.py"),
            ("`--missing-flag`", "no program has the option --missing-flag"),
            ("`raft-node --missing-flag 5`", "no program has the option --missing-flag"),
            ("[c](c.md)", "there is no c.md"),
            ("`y.rs`", "there is no file y.rs"),
        ):
            with self.subTest(text):
                code, output = self.run_with(text)
                self.assertEqual(code, 1)
                self.assertIn(problem, output)


class Prose(unittest.TestCase):
    def kinds_of(self, name, text):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return {kind: " ".join(text.split()) for kind, text in prose.texts_of(path)}

    def test_html(self):
        page = "<!-- a\ncomment --><p title=\"a tip\">some <b>text</b></p><script>code</script><style>x</style>"
        kinds = self.kinds_of("a.html", page)
        self.assertEqual(kinds, {"HTML text": "a tip some text", "comments": "a comment"})

    def test_docstrings(self):
        for name in ("a.py", "script"):
            source = '#!/usr/bin/env python3\n"""The file."""\n\ndef f():\n    """A function."""\n    return """data"""\n'
            kinds = self.kinds_of(name, source)
            self.assertEqual(kinds["docstrings"], "The file. A function.")

    def test_spanish(self):
        script = "export default { 'a.b': 'Lo que dice el servidor {name}', 'c': `cada uno` };"
        kinds = self.kinds_of("lang/es/a.js", script)
        self.assertEqual(kinds["Spanish page strings"], "Lo que dice el servidor cada uno")

    def test_spanish_patterns(self):
        text = "Nadie sabe lo que dice el servidor. Lo que hace falta. Alguien pregunta."
        files = {"lang/es/a.js": f"export default {{ 'a': '{text}' }};"}
        code, output = run_in_repository("prose", files)
        self.assertEqual(code, 1)
        self.assertIn("lang/es/a.js: ", output)


if __name__ == "__main__":
    unittest.main()
