//! The browser app: embedded plain ES modules, SVG and CSS. It has no build step and loads nothing
//! from other origins.
//!
//! [`app`] serves the files. The page then sends requests to the same server, the checker or the
//! proxy. `GET /api/app` identifies that server to the page. The content security policy below
//! restricts the page to its own origin.
//!
//! Deliberate omissions: templates, state, and any knowledge of Raft in Rust.

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use rust_embed::{Embed, EmbeddedFile};

#[derive(Embed)]
#[folder = "assets/"]
struct Assets;

/// The content security policy: the page may run and display its own files, and send requests to its
/// own origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self' data: blob:; font-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page at `/`, and its files under `/ui/`.
pub fn app<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|headers: HeaderMap| file("index.html", headers)))
        .route(
            "/ui/{*path}",
            get(|Path(path): Path<String>, headers: HeaderMap| async move {
                file(&path, headers).await
            }),
        )
}

async fn file(path: &str, asked: HeaderMap) -> Response {
    let Some(file) = Assets::get(path) else {
        return (StatusCode::NOT_FOUND, "there is no such file").into_response();
    };
    let tag = tag(&file);
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // The browser caches the file but revalidates it for each use, so that it notices an upgraded
        // server.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_TYPE, kind(path)),
    ];
    if asked.get(header::IF_NONE_MATCH) == Some(&tag) {
        return (StatusCode::NOT_MODIFIED, headers, [(header::ETAG, tag)]).into_response();
    }
    (headers, [(header::ETAG, tag)], file.data).into_response()
}

fn tag(file: &EmbeddedFile) -> HeaderValue {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    HeaderValue::try_from(format!("\"{hex}\"")).expect("hexadecimal digits are a header's value")
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("jsonl") => "application/jsonl; charset=utf-8",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn get(path: &str, tag: Option<&HeaderValue>) -> Response {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let request = request.body(Body::empty()).unwrap();
        app::<()>().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn page_comes_with_a_policy_that_allows_its_own_origin_alone() {
        let page = get("/", None).await;
        assert_eq!(page.status(), StatusCode::OK);
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("http"), "{policy}");
        let body = page.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"<!doctype html>"));
    }

    #[tokio::test]
    async fn known_file_is_not_sent_again() {
        let first = get("/", None).await;
        let tag = first.headers()[header::ETAG].clone();
        assert_eq!(
            get("/", Some(&tag)).await.status(),
            StatusCode::NOT_MODIFIED
        );
        let other = HeaderValue::from_static("\"other\"");
        assert_eq!(get("/", Some(&other)).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn path_out_of_the_folder_leads_nowhere() {
        for path in [
            "/ui/nothing.js",
            "/ui/../Cargo.toml",
            "/ui/%2e%2e/Cargo.toml",
        ] {
            assert_eq!(
                get(path, None).await.status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }

    #[test]
    fn nothing_embedded_names_another_origin() {
        for path in Assets::iter() {
            let file = Assets::get(&path).unwrap();
            let Ok(text) = str::from_utf8(&file.data) else {
                continue;
            };
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for scheme in ["http://", "https://", "//cdn"] {
                assert!(!text.contains(scheme), "{path} names {scheme}");
            }
        }
    }
}
