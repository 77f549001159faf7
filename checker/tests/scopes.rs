//! The disabled features of the catalog's scopes: the documents repeat them.

use model::system::{Scope, scope::Feature};
use std::{fs, path::Path};

fn document(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(name)).expect("a document of the repository")
}

fn disabled(scope: &Scope) -> String {
    let names: Vec<&str> = scope
        .disabled_features()
        .into_iter()
        .map(Feature::name)
        .collect();
    names.join(", ")
}

#[test]
fn document_has_the_disabled_features_of_each_scope() {
    let text = document("docs/scopes.md");
    for scope in Scope::catalog() {
        let heading = format!("### {} `", scope.name);
        let (_, section) = text.split_once(&heading).expect("a section of the scope");
        let section = section.split("\n#").next().expect("a section");
        let line = format!("\n*Disabled*: {}.\n", disabled(&scope));
        assert!(section.contains(&line), "{}: {line}", scope.name);
    }
}

#[test]
fn document_describes_each_feature() {
    let text = document("docs/scopes.md");
    for feature in Feature::ALL {
        let row = format!("| {feature} | {} |", feature.about().trim_end_matches('.'));
        assert!(text.contains(&row), "{row}");
    }
}
