//! Requests to an API server.

use super::kinds::Kind;
use super::{KubeError, Token, Warnings, kind};
use ::kube::core::Status;
use http_body_util::BodyExt;
use serde_json::Value as Json;
use std::fmt;
use std::time::Duration;

/// Seconds one request may take: the API server itself gives up after 60 (its `--request-timeout`); half of that
/// is already a server in trouble.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// An API server and who we are to it.
#[derive(Clone)]
pub struct Server {
    pub(super) client: ::kube::Client,
    /// Does not ask again by itself: what is asked through the API server may simply not be up yet.
    pub(super) impatient: ::kube::Client,
    /// Its address.
    pub url: String,
    /// Which credentials: "context `prod` of ~/.kube/config".
    pub login: String,
    /// What the server warned of.
    pub warnings: Warnings,
    /// What AIStore's own nodes are shown, behind the API server.
    pub token: Option<Token>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.url, self.login)
    }
}

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// Server-side apply: the object as we want our part of it. `force`: take fields over from other managers.
    Apply {
        /// Take fields over from other managers.
        force: bool,
    },
    /// JSON merge patch: `null` removes.
    Merge,
}

impl Server {
    /// The kind of an object, or an error naming it.
    pub(super) fn kind_of(json: &Json) -> Result<&'static Kind, KubeError> {
        let name = json["kind"].as_str().unwrap_or_default();
        let version = json["apiVersion"].as_str().unwrap_or_default();
        kind(name)
            .filter(|k| k.api_version == version)
            .ok_or_else(|| KubeError::Other(format!("`{version}` `{name}` is no kind of object fettle handles")))
    }

    /// One request. `doing` is for messages.
    pub(super) async fn request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&Json>,
        doing: &str,
    ) -> Result<String, KubeError> {
        self.request_by(&self.client, method, path, content_type, body, doing).await
    }

    async fn request_by(
        &self,
        client: &::kube::Client,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&Json>,
        doing: &str,
    ) -> Result<String, KubeError> {
        let body = body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, content_type)
            .header(http::header::ACCEPT, "application/json");
        let pod = behind(path);
        if let Some(token) = self.token.as_ref().filter(|_| pod.is_some()) {
            request = request.header(super::token::HEADER, token.value.clone());
        }
        let request = request.body(body).map_err(|e| KubeError::Other(format!("{doing}: {e}")))?;
        match tokio::time::timeout(REQUEST_TIMEOUT, self.send(client, request)).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(::kube::Error::Api(status))) if pod.is_some() && refused_by_pod(&status) => {
                Err(KubeError::from_pod(&status, pod.unwrap_or_default(), self.token.as_ref().map(|t| t.from.as_str()), doing))
            }
            Ok(Err(e)) => {
                let own = match &e {
                    ::kube::Error::Api(status) => pod.and_then(|_| KubeError::from_aistore(status, doing)),
                    _ => None,
                };
                Err(own.unwrap_or_else(|| KubeError::from_client(&e, &self.url, &self.login, doing)))
            }
            Err(_) => Err(KubeError::Unreachable(format!("{doing}: no answer from {} within {} s", self.url, REQUEST_TIMEOUT.as_secs()))),
        }
    }

    /// Sends it and takes the text of the answer; answers of 400 and more are errors, as the library's own requests have them.
    async fn send(&self, client: &::kube::Client, request: http::Request<Vec<u8>>) -> Result<String, ::kube::Error> {
        let answer = client.send(request.map(Into::into)).await?;
        self.warnings.note(answer.headers());
        let code = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8(body.to_vec()).map_err(::kube::Error::FromUtf8)?;
        if !code.is_client_error() && !code.is_server_error() {
            return Ok(text);
        }
        // Proxies on the way answer in other forms.
        let status = serde_json::from_str::<Status>(&text)
            .unwrap_or_else(|_| Status::failure(text.trim(), "Failed to parse error data").with_code(code.as_u16()));
        Err(::kube::Error::Api(status.boxed()))
    }

    fn parse(&self, text: &str, doing: &str) -> Result<Json, KubeError> {
        serde_json::from_str(text).map_err(|e| KubeError::Other(format!("{doing}: the answer of {} is no JSON: {e}", self.url)))
    }

    /// The object of this kind and name; `None`: there is none.
    pub async fn get(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<Option<Json>, KubeError> {
        let doing = format!("read {}", title(kind, namespace, name));
        match self.request("GET", &kind.path(namespace, name), "application/json", None, &doing).await {
            Ok(text) => self.parse(&text, &doing).map(Some),
            Err(KubeError::Missing(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// All objects of this kind that `selector` (label selector; empty: all) picks.
    pub async fn list(&self, kind: &Kind, namespace: Option<&str>, selector: &str) -> Result<Vec<Json>, KubeError> {
        let query = if selector.is_empty() { String::new() } else { format!("labelSelector={}", escape(selector)) };
        self.list_by(kind, namespace, &query).await
    }

    /// The same by a ready query: `fieldSelector=…`, escaped.
    pub async fn list_by(&self, kind: &Kind, namespace: Option<&str>, query: &str) -> Result<Vec<Json>, KubeError> {
        let doing = format!("list {}", kind.plural);
        let mut all = vec![];
        let mut token = String::new();
        loop {
            // In pages, as kubectl reads.
            let path = format!("{}?limit=500&{query}&continue={}", kind.path(namespace, ""), escape(&token));
            let mut page = match self.request("GET", &path, "application/json", None, &doing).await {
                Ok(text) => self.parse(&text, &doing)?,
                // A kind this cluster does not know (monitoring, certificates): it has none of them.
                Err(KubeError::Missing(_)) => return Ok(all),
                Err(e) => return Err(e),
            };
            if let Json::Array(items) = page["items"].take() {
                all.extend(items);
            }
            page["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut token);
            if token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Patches an object; gives it as it is then (or would be, with `dry_run`: the server checks and changes nothing).
    pub async fn patch(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        patch: Patch,
        body: &Json,
        dry_run: bool,
    ) -> Result<Json, KubeError> {
        let doing = format!("{} {}", if dry_run { "check" } else { "apply" }, title(kind, namespace, name));
        let (content_type, force) = match patch {
            Patch::Apply { force } => ("application/apply-patch+yaml", force),
            Patch::Merge => ("application/merge-patch+json", false),
        };
        let path = format!(
            "{}?fieldManager={}&fieldValidation=Strict{}{}",
            kind.path(namespace, name),
            super::MANAGER,
            if force { "&force=true" } else { "" },
            if dry_run { "&dryRun=All" } else { "" },
        );
        let text = self.request("PATCH", &path, content_type, Some(body), &doing).await?;
        self.parse(&text, &doing)
    }

    /// Deletes an object, and what belongs to it in the background (`orphan`: leaves that). Whether there was one.
    /// `uid`: only if it is still that very object.
    pub async fn delete(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        uid: Option<&str>,
        orphan: bool,
        dry_run: bool,
    ) -> Result<bool, KubeError> {
        let mut options = serde_json::json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "propagationPolicy": if orphan { "Orphan" } else { "Background" },
        });
        if let Some(uid) = uid {
            options["preconditions"] = serde_json::json!({"uid": uid});
        }
        if dry_run {
            options["dryRun"] = serde_json::json!(["All"]);
        }
        let doing = format!("delete {}", title(kind, namespace, name));
        match self.request("DELETE", &kind.path(namespace, name), "application/json", Some(&options), &doing).await {
            Ok(_) => Ok(true),
            Err(KubeError::Missing(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The server's version, `v1.35.2`: also shows that it answers and takes our credentials.
    pub async fn version(&self) -> Result<String, KubeError> {
        // /version answers anybody; who we are is asked with it, so that wrong credentials show here.
        let review = serde_json::json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let doing = "log in";
        self.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "application/json", Some(&review), doing).await?;
        let text = self.request("GET", "/version", "application/json", None, "ask for the version").await?;
        let version = self.parse(&text, "ask for the version")?;
        Ok(version["gitVersion"].as_str().unwrap_or("unknown").to_owned())
    }

    /// GET through the API server to something in the cluster: a path below `/api/v1/…/proxy/`.
    pub async fn get_through(&self, path: &str, doing: &str) -> Result<String, KubeError> {
        self.request_by(&self.impatient, "GET", path, "application/json", None, doing).await
    }

    /// GET with a question in its body, likewise.
    pub async fn ask_through(&self, path: &str, question: &Json, doing: &str) -> Result<String, KubeError> {
        self.request_by(&self.impatient, "GET", path, "application/json", Some(question), doing).await
    }

    /// A merge patch of anything, by its path and query.
    pub async fn merge_at(&self, path: &str, body: &Json) -> Result<(), KubeError> {
        self.request("PATCH", path, "application/merge-patch+json", Some(body), &format!("patch {path}")).await.map(|_| ())
    }

    /// PUT of JSON through the API server, likewise.
    pub async fn put_through(&self, path: &str, body: Option<&Json>, doing: &str) -> Result<String, KubeError> {
        self.request_by(&self.impatient, "PUT", path, "application/json", body, doing).await
    }
}

/// The pod that a path leads to, through the API server.
fn behind(path: &str) -> Option<&str> {
    let (before, _) = path.split_once("/proxy/")?;
    before.rsplit_once("/pods/")?.1.split(':').nth(1)
}

/// 401 and 403 of the pod itself: the API server's own have its reasons.
fn refused_by_pod(status: &::kube::core::Status) -> bool {
    matches!(status.code, 401 | 403) && !matches!(status.reason.as_str(), "Unauthorized" | "Forbidden")
}

/// `StatefulSet ais/ais-proxy`.
pub(super) fn title(kind: &Kind, namespace: Option<&str>, name: &str) -> String {
    match namespace.filter(|_| kind.namespaced) {
        Some(namespace) => format!("{} {namespace}/{name}", kind.name),
        None => format!("{} {name}", kind.name),
    }
}

/// Percent-encodes a query value.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
