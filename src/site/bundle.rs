//! Joins the client's modules into one script for the page, one for its worker, and one for each part that the page loads when it
//! is first used: one request and one dictionary for gzip, where 50 files were 80 kB and 9 rounds.
//!
//! A part is a module that another imports by `import('…')`, and each language. It has no module of the page or of another part,
//! since each script would have its own variables of it: what it needs of them, its callers pass.
//!
//! `build.rs` uses it, so it knows nothing of this crate. It understands the form that the formatter gives imports and exports at
//! the start of a line, and panics on any other. Each module becomes a function that returns its exports, after those it imports.
//! Invariant: no module imports itself over others; a name of one module is not seen by another.

use std::collections::BTreeMap;

/// Modules by their path from the client's root, such as `ui/dom.js`.
pub type Modules = BTreeMap<String, String>;

/// The folder whose modules are the languages.
pub const LANGUAGES: &str = "lang/";

/// The scripts that run `page` and `worker`, and those of the parts, each with the path of its first module; without comments and
/// indentation, which no browser reads.
pub fn bundle(modules: &Modules, page: &str, worker: Option<&str>) -> Vec<(String, String)> {
    let languages = modules.keys().filter(|path| path.starts_with(LANGUAGES)).cloned();
    let (mut unused, mut scripts) = (modules.keys().collect::<Vec<_>>(), Vec::new());
    let mut entries: Vec<String> = worker.map(str::to_owned).into_iter().chain([page.to_owned()]).collect();
    let (mut at, mut of_page) = (0, Vec::new());
    entries.extend(languages);
    while let Some(entry) = entries.get(at).cloned() {
        at += 1;
        let mut bundle =
            Bundle { modules, order: Vec::new(), open: Vec::new(), parts: Vec::new(), out: String::new() };
        let exports = bundle.add(&entry);
        if worker != Some(&*entry) {
            let twice = bundle.order.iter().find(|path| of_page.contains(*path));
            assert!(twice.is_none(), "{twice:?} would be loaded twice, the second time by {entry}");
            of_page.extend(bundle.order.iter().cloned());
            let new: Vec<String> = bundle.parts.into_iter().filter(|it| !entries.contains(it)).collect();
            entries.extend(new);
        } else {
            assert!(bundle.parts.is_empty(), "a worker cannot import() {:?}", bundle.parts);
        }
        unused.retain(|path| !bundle.order.contains(*path));
        if entry != page && worker != Some(&*entry) {
            bundle.out.push_str(&format!(
                "export const {{{}}}=m{};\n",
                exports.join(","),
                bundle.order.len() - 1
            ));
        }
        scripts.push((entry, bundle.out));
    }
    assert!(unused.is_empty(), "no module imports {unused:?}");
    scripts
}

struct Bundle<'a> {
    modules: &'a Modules,
    /// Those that are imported when they are first used.
    parts: Vec<String>,
    /// Those that are in `out`; the position names the variable of a module's exports.
    order: Vec<String>,
    /// Those that wait for what they import.
    open: Vec<String>,
    out: String,
}

impl Bundle<'_> {
    /// The name of the variable with the module's exports.
    fn variable(&mut self, path: &str) -> String {
        if !self.order.iter().any(|done| done == path) {
            self.add(path);
        }
        let at = self.order.iter().position(|done| done == path);
        format!("m{}", at.expect("it was added"))
    }

    /// The names that the module exports.
    fn add(&mut self, path: &str) -> Vec<String> {
        assert!(!self.open.iter().any(|open| open == path), "{path} imports itself: {:?}", self.open);
        self.open.push(path.to_owned());
        let text = self.modules.get(path).unwrap_or_else(|| panic!("no module {path}: {:?}", self.open));
        let (mut head, mut body, mut exports) = (String::new(), String::new(), Vec::new());
        let mut import = String::new();
        for line in without_comments(text.as_bytes()).split(|&byte| byte == b'\n') {
            let line = std::str::from_utf8(line).expect("a module is UTF-8");
            let code = line.trim();
            if !import.is_empty() || line.starts_with("import ") {
                import.push_str(code);
                if code.ends_with(';') {
                    head.push_str(&self.import(path, &std::mem::take(&mut import)));
                }
            } else if let Some(rest) = line.strip_prefix("export ") {
                exports.push(exported(path, rest));
                let rest = self.late(path, rest.trim_end());
                body.push_str(&format!("{rest}\n"));
            } else if !code.is_empty() {
                assert!(
                    code.matches('`').count().is_multiple_of(2),
                    "{path}: a template of two lines: {code}"
                );
                body.push_str(&format!("{}\n", self.late(path, code)));
            }
        }
        self.open.pop();
        let name = format!("m{}", self.order.len());
        self.order.push(path.to_owned());
        let list = exports.join(",");
        self.out.push_str(&format!("const {name}=(()=>{{\n{head}{body}return{{{list}}};\n}})();\n"));
        exports
    }

    /// `import('../x.js')` with the path from the client's root, where the script is. One whose path has a variable names a
    /// language.
    fn late(&mut self, from: &str, code: &str) -> String {
        const CALL: &str = "import('";
        let Some((before, rest)) = code.split_once(CALL) else {
            let is_language = code.contains(&format!("import(`./{LANGUAGES}${{")) && !from.contains('/');
            assert!(is_language || !code.contains("import(`"), "{from}: {code}");
            return code.to_owned();
        };
        let (path, after) = rest.split_once("')").unwrap_or_else(|| panic!("{from}: {code}"));
        let part = resolve(from, path);
        assert!(self.modules.contains_key(&part), "{from}: no module {part}");
        if !self.parts.contains(&part) {
            self.parts.push(part.clone());
        }
        format!("{before}{CALL}./{part}'){after}")
    }

    /// `import { a, b as c } from './x.js';` as a declaration of the same names.
    fn import(&mut self, from: &str, statement: &str) -> String {
        let (names, path) = statement
            .trim_start_matches("import ")
            .trim_end_matches("';")
            .split_once(" from '")
            .unwrap_or_else(|| panic!("{from}: {statement}"));
        let module = self.variable(&resolve(from, path));
        match names.strip_prefix("* as ") {
            Some(name) => format!("const {name}={module};\n"),
            None => format!("const {}={module};\n", names.replace(" as ", ":")),
        }
    }
}

/// The name that `function a(…`, `class A …`, `const a = …` declares.
fn exported(path: &str, declaration: &str) -> String {
    let rest = declaration.trim_start_matches("async ");
    let rest = ["function ", "class ", "const "].iter().find_map(|word| rest.strip_prefix(word));
    let name: String = rest
        .unwrap_or_else(|| panic!("{path}: export {declaration}"))
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "_$".contains(*c))
        .collect();
    assert!(!name.is_empty(), "{path}: export {declaration}");
    name
}

/// `../util.js` in `ui/dom.js` is `util.js`.
fn resolve(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    assert!(path.starts_with("./") || path.starts_with("../"), "{from}: {path} is not relative");
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => assert!(parts.pop().is_some(), "{from}: {path} leaves the client"),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// A comment of a script is a line of its own, or begins with `/**` on one and ends a line.
fn without_comments(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut inside) = (Vec::with_capacity(bytes.len()), false);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let text = line.trim_ascii();
        // A cast, `/** @type {…} */ (value)`, is code.
        let is_cast = !inside && !text.ends_with(b"*/") && text.windows(2).any(|it| it == b"*/");
        inside |= text.starts_with(b"/**") && !is_cast;
        let is_comment = inside || text.starts_with(b"//");
        inside &= !text.ends_with(b"*/");
        if !is_comment {
            without_casts(line, &mut out);
        }
    }
    out
}

/// No browser reads a cast. One is on one line, and no text of the client begins like it.
fn without_casts(mut line: &[u8], out: &mut Vec<u8>) {
    let find = |text: &[u8], part: &[u8]| text.windows(part.len()).position(|it| it == part);
    while let Some(start) = find(line, b"/** @") {
        let end = find(&line[start..], b"*/ ").expect("a cast ends on its line");
        out.extend_from_slice(&line[..start]);
        line = &line[start + end + 3..];
    }
    out.extend_from_slice(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(list: &[(&str, &str)]) -> Modules {
        list.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn modules_come_after_what_they_import_with_the_names_they_gave() {
        let modules = modules(&[
            (
                "app.js",
                "// a comment\nimport * as dom from './ui/dom.js';\nimport {\n  a,\n  b as c,\n} from './util.js';\n\n  dom.h(a, c);\n",
            ),
            (
                "ui/dom.js",
                "import { a } from '../util.js';\n/**\n * @param x\n */\nexport function h(x) {\n  return a + x;\n}\n",
            ),
            ("util.js", "const hidden = 1;\nexport const a = hidden;\nexport const b = 2;\n"),
        ]);
        let expect = "const m0=(()=>{\nconst hidden = 1;\nconst a = hidden;\nconst b = 2;\nreturn{a,b};\n})();\n\
             const m1=(()=>{\nconst { a }=m0;\nfunction h(x) {\nreturn a + x;\n}\nreturn{h};\n})();\n\
             const m2=(()=>{\nconst dom=m1;\nconst {a,b:c,}=m0;\ndom.h(a, c);\nreturn{};\n})();\n";
        assert_eq!(bundle(&modules, "app.js", None), [("app.js".to_owned(), expect.to_owned())]);
    }

    #[test]
    fn a_cast_leaves_its_value_and_a_comment_nothing() {
        let text = "/** @type {X} */\nconst a = 1;\n/** @type {Y} */ (a).b = 2;\n// no\n/**\n * no\n */\nlet c = /** @type {Z} */ (f(/** @type {W} */ (a)));\n";
        assert_eq!(without_comments(text.as_bytes()), b"const a = 1;\n(a).b = 2;\nlet c = (f((a)));\n");
    }

    #[test]
    #[should_panic(expected = "imports itself")]
    fn a_circle_of_imports_is_refused() {
        let text = "import { b } from './b.js';\nexport const a = b;\n";
        bundle(&modules(&[("a.js", text), ("b.js", &text.replace("b.js", "a.js"))]), "a.js", None);
    }

    #[test]
    #[should_panic(expected = "no module imports")]
    fn a_module_that_is_not_used_is_refused() {
        bundle(&modules(&[("a.js", ""), ("b.js", "")]), "a.js", None);
    }

    #[test]
    fn each_script_has_what_it_imports_and_no_more() {
        let import = "import { a } from './util.js';\n";
        let modules = modules(&[
            ("app.js", &format!("{import}a('app');\n")),
            ("worker.js", "b('worker');\n"),
            ("util.js", "export const a = 1;\n"),
        ]);
        let [(_, worker), (_, app)] =
            bundle(&modules, "app.js", Some("worker.js")).try_into().expect("two scripts");
        assert!(app.contains("const a = 1;") && app.contains("a('app')"), "{app}");
        assert_eq!(worker, "const m0=(()=>{\nb('worker');\nreturn{};\n})();\n");
    }

    #[test]
    fn a_part_and_a_language_are_scripts_of_their_own_that_export() {
        let modules = modules(&[
            ("app.js", "import { f } from './ui/a.js';\nf(await import(`./lang/${code}.js`));\n"),
            ("ui/a.js", "export const f = () => import('../ui/late.js').then(run);\n"),
            ("ui/late.js", "import { x } from './own.js';\nexport const a = x;\nexport function b() {}\n"),
            ("ui/own.js", "export const x = 1;\n"),
            ("lang/en.js", "export const name = 'English';\n"),
        ]);
        let scripts: Modules = bundle(&modules, "app.js", None).into_iter().collect();
        let paths: Vec<&str> = scripts.keys().map(String::as_str).collect();
        assert_eq!(paths, ["app.js", "lang/en.js", "ui/late.js"]);
        assert!(
            scripts["app.js"].contains("() => import('./ui/late.js').then(run)"),
            "{}",
            scripts["app.js"]
        );
        assert!(scripts["ui/late.js"].ends_with("\nexport const {a,b}=m1;\n"), "{}", scripts["ui/late.js"]);
        assert!(scripts["lang/en.js"].ends_with("\nexport const {name}=m0;\n"), "{}", scripts["lang/en.js"]);
    }

    #[test]
    #[should_panic(expected = "would be loaded twice")]
    fn a_module_of_the_page_is_no_module_of_a_part() {
        let modules = modules(&[
            ("app.js", "import { a } from './a.js';\na(import('./late.js'));\n"),
            ("late.js", "import { a } from './a.js';\nexport const b = a;\n"),
            ("a.js", "export const a = 1;\n"),
        ]);
        bundle(&modules, "app.js", None);
    }
}
