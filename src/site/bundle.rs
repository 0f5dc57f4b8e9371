//! Joins the client's modules into one script for the page and one for its worker: one request and one dictionary for gzip, where 50
//! files were 80 kB and 9 rounds.
//!
//! `build.rs` uses it, so it knows nothing of this crate. It understands the form that the formatter gives imports and exports at
//! the start of a line, and panics on any other. Each module becomes a function that returns its exports, after those it imports.
//! Invariant: no module imports itself over others; a name of one module is not seen by another.

use std::collections::BTreeMap;

/// Modules by their path from the client's root, such as `ui/dom.js`.
pub type Modules = BTreeMap<String, String>;

/// The script that runs each of `entries`, without comments and indentation, which no browser reads.
pub fn bundle(modules: &Modules, entries: &[&str]) -> Vec<String> {
    let (mut unused, mut scripts) = (modules.keys().collect::<Vec<_>>(), Vec::new());
    for entry in entries {
        let mut bundle = Bundle { modules, order: Vec::new(), open: Vec::new(), out: String::new() };
        bundle.add(entry);
        unused.retain(|path| !bundle.order.contains(*path));
        scripts.push(bundle.out);
    }
    assert!(unused.is_empty(), "no module imports {unused:?}");
    scripts
}

struct Bundle<'a> {
    modules: &'a Modules,
    /// Those that are in `out`; the position names the variable of a module's exports.
    order: Vec<String>,
    /// Those that wait for what they import.
    open: Vec<String>,
    out: String,
}

impl Bundle<'_> {
    /// The name of the variable with the module's exports.
    fn add(&mut self, path: &str) -> String {
        if let Some(at) = self.order.iter().position(|done| done == path) {
            return format!("m{at}");
        }
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
                body.push_str(&format!("{}\n", rest.trim_end()));
            } else if !code.is_empty() {
                assert!(
                    code.matches('`').count().is_multiple_of(2),
                    "{path}: a template of two lines: {code}"
                );
                body.push_str(&format!("{code}\n"));
            }
        }
        self.open.pop();
        let name = format!("m{}", self.order.len());
        self.order.push(path.to_owned());
        let exports = exports.join(",");
        self.out.push_str(&format!("const {name}=(()=>{{\n{head}{body}return{{{exports}}};\n}})();\n"));
        name
    }

    /// `import { a, b as c } from './x.js';` as a declaration of the same names.
    fn import(&mut self, from: &str, statement: &str) -> String {
        let (names, path) = statement
            .trim_start_matches("import ")
            .trim_end_matches("';")
            .split_once(" from '")
            .unwrap_or_else(|| panic!("{from}: {statement}"));
        let module = self.add(&resolve(from, path));
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
        assert_eq!(bundle(&modules, &["app.js"]), [expect]);
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
        bundle(&modules(&[("a.js", text), ("b.js", &text.replace("b.js", "a.js"))]), &["a.js"]);
    }

    #[test]
    #[should_panic(expected = "no module imports")]
    fn a_module_that_is_not_used_is_refused() {
        bundle(&modules(&[("a.js", ""), ("b.js", "")]), &["a.js"]);
    }

    #[test]
    fn each_script_has_what_it_imports_and_no_more() {
        let import = "import { a } from './util.js';\n";
        let modules = modules(&[
            ("app.js", &format!("{import}a('app');\n")),
            ("worker.js", "b('worker');\n"),
            ("util.js", "export const a = 1;\n"),
        ]);
        let [app, worker] = bundle(&modules, &["app.js", "worker.js"]).try_into().expect("two scripts");
        assert!(app.contains("const a = 1;") && app.contains("a('app')"), "{app}");
        assert_eq!(worker, "const m0=(()=>{\nb('worker');\nreturn{};\n})();\n");
    }
}
