//! `copy`: files from the workstation, given content, or files on the host itself.

use super::attributes::{PRESERVE, Put, Wanted, describe, put, with_attributes};
use super::draft::{Draft, fields};
use super::file::make_directories;
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, SourceFile, attributes, checksum, paths};
use crate::host::change::Remove;
use crate::host::{Change, FileKind, View};
use crate::template::python_json;
use serde_json::{Map, Value as Json, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The module's description.
pub const MODULE: Module = Module {
    name: "copy",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Puts files in place: from the workstation (`src`), from the task (`content`), or from the host (`remote_src`).\n\
          A folder is copied with all below it: into `dest` under its own name, or only what it holds if `src` ends in a slash.",
    args: with_attributes![
        Arg::new("src", Kind::Str, "a file or folder, looked for in `files` beside the play or role first"),
        Arg::new("content", Kind::Any, "the file's content; a mapping or list becomes JSON"),
        DEST,
        Arg::new("remote_src", Kind::Bool, "`src` is on the host").default("no"),
        FORCE,
        BACKUP,
        VALIDATE,
        Arg::new("directory_mode", Kind::Mode, "permissions of folders that are made on the way").default("0777 less the umask"),
        Arg::new("checksum", Kind::Str, "SHA-1 the source must have, hexadecimal"),
        FOLLOW,
        Arg::new("local_follow", Kind::Bool, "`false` is refused: links on the workstation are followed").default("yes"),
        Arg::new("decrypt", Kind::Bool, "`true` is refused for vaults: they are not supported").default("yes"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

/// `dest`.
pub(super) const DEST: Arg =
    Arg::new("dest", Kind::Path, "where: a file, or a folder (it exists, or the text ends in a slash) to put it in").required();
/// `force`.
pub(super) const FORCE: Arg = Arg::new("force", Kind::Bool, "replace a file that is there with other content").default("yes");
/// `backup`.
pub(super) const BACKUP: Arg = Arg::new("backup", Kind::Bool, "keep a copy of the old file beside it").default("no");
/// `validate`.
pub(super) const VALIDATE: Arg = Arg::new("validate", Kind::Str, "a command that checks the new file (`%s`) before it takes its place");
/// `follow`.
pub(super) const FOLLOW: Arg = Arg::new("follow", Kind::Bool, "write through a link at `dest`, in place of replacing it").default("no");

/// How a file is to be put in place.
pub(super) struct Options {
    wanted: Wanted,
    force: bool,
    backup: bool,
    validate: Option<String>,
    follow: bool,
    secret: bool,
}

impl Options {
    /// From the arguments `copy` and `template` share.
    pub fn read(args: &Args, context: &Context<'_>) -> Result<Self, PlanError> {
        Ok(Self {
            wanted: Wanted::read(args, context)?,
            force: args.bool("force").unwrap_or(true),
            backup: args.bool("backup").unwrap_or(false),
            validate: args.str("validate").map(str::to_owned),
            follow: args.bool("follow").unwrap_or(false),
            secret: context.secret,
        })
    }

    /// Attributes, with `preserve` replaced by the source's mode.
    fn wanted(&self, source_mode: Option<u32>) -> Result<Wanted, PlanError> {
        let mut wanted = self.wanted.clone();
        if wanted.mode.as_deref() == Some(PRESERVE) {
            let mode = source_mode.ok_or_else(|| PlanError::failed("`mode: preserve` needs a source file to take the mode from"))?;
            wanted.mode = Some(format!("{mode:04o}"));
        }
        Ok(wanted)
    }
}

/// Adds what is missing for the file at `dest` to have this content.
pub(super) fn place(draft: &mut Draft<'_>, dest: &Path, content: Vec<u8>, mode: Option<u32>, options: &Options) -> Result<(), PlanError> {
    let wanted = options.wanted(mode)?;
    let stat = draft.host.stat(dest, true)?;
    if stat.is_some() && !options.force {
        return Ok(());
    }
    if stat.is_some_and(|stat| stat.kind == FileKind::Directory) {
        return Err(PlanError::failed(format!("{} is a directory: no file is put in its place", dest.display())));
    }
    let same = holds(draft, dest, &content)?;
    let is_link = draft.host.stat(dest, false)?.is_some_and(|s| s.kind == FileKind::Symlink);
    if !same && is_link && !options.follow {
        draft.add(Change::Remove(Remove { path: dest.to_owned() }))?;
    }
    let validate = options.validate.clone();
    let content = (!same).then_some(content);
    // A link to a file that is so already stays.
    let follow = options.follow || (same && is_link);
    put(draft, dest, Put { content, wanted: &wanted, backup: options.backup, validate, secret: options.secret, follow })
}

/// Whether there is a file at `path` with this content.
fn holds(draft: &Draft<'_>, path: &Path, content: &[u8]) -> Result<bool, PlanError> {
    let same_size = draft.host.stat(path, true)?.is_some_and(|s| s.kind == FileKind::File && s.size == content.len() as u64);
    Ok(same_size && draft.host.read(path)? == content)
}

/// Where the file called `name` goes; folders above it are made if `dest` ends in a slash.
pub(super) fn destination(
    draft: &mut Draft<'_>,
    dest: &str,
    name: &str,
    folders: &Wanted,
    context: &Context<'_>,
) -> Result<PathBuf, PlanError> {
    let path = paths::absolute("dest", dest, context)?;
    let directory = draft.host.stat(&path, true)?.is_some_and(|s| s.kind == FileKind::Directory);
    if !directory && !dest.ends_with('/') {
        return Ok(path);
    }
    if !directory {
        make_directories(draft, &path, folders)?;
    }
    Ok(path.join(name))
}

/// The last part of a source's name.
pub(super) fn base_name(src: &str) -> Result<&str, PlanError> {
    let name = src.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.is_empty() || name == "." || name == ".." { Err(PlanError::failed(format!("`src: {src}` names no file"))) } else { Ok(name) }
}

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    attributes::refuse(args, &[("local_follow", Some(json!(true)), "links on the workstation are followed")])?;
    let options = Options::read(args, context)?;
    let folders = Wanted { mode: args.str("directory_mode").map(str::to_owned), ..options.wanted.clone() };
    if let Some(mode) = &folders.mode {
        attributes::apply_mode(mode, 0, true, 0).map_err(PlanError::failed)?;
    }
    let dest = args.required("dest")?;
    let mut copy = Copy {
        draft: Draft::new(context),
        options,
        folders,
        context,
        checksum: args.str("checksum"),
        vaults: args.bool("decrypt") == Some(false),
    };
    let remote = args.bool("remote_src").unwrap_or(false);
    match (args.get("content"), args.str("src")) {
        (Some(_), Some(_)) => Err(PlanError::failed("`src` and `content` exclude each other")),
        (None, None) => Err(PlanError::failed("one of `src` and `content` is needed")),
        (Some(_), None) if remote => Err(PlanError::failed("`remote_src` needs `src`")),
        (Some(content), None) => copy.content(content, dest),
        (None, Some("")) => Err(PlanError::failed("`src` is empty")),
        (None, Some(src)) if remote => copy.remote(src, dest),
        (None, Some(src)) => copy.local(src, dest),
    }
    .map(|result| copy.draft.finish(result))
}

struct Copy<'c, 'a> {
    draft: Draft<'c>,
    options: Options,
    folders: Wanted,
    context: &'a Context<'c>,
    checksum: Option<&'a str>,
    /// Encrypted files are copied as they are.
    vaults: bool,
}

impl Copy<'_, '_> {
    fn content(&mut self, content: &Json, dest: &str) -> Result<Map<String, Json>, PlanError> {
        let path = paths::absolute("dest", dest, self.context)?;
        if dest.ends_with('/') || self.draft.host.stat(&path, true)?.is_some_and(|s| s.kind == FileKind::Directory) {
            return Err(PlanError::failed(format!("`content` needs a file's name as `dest`: {dest} is a folder")));
        }
        let text = match content {
            Json::Array(_) | Json::Object(_) => python_json(content, None),
            other => super::args::text(other),
        };
        self.file(&path, text.into_bytes(), None, None)
    }

    fn local(&mut self, src: &str, dest: &str) -> Result<Map<String, Json>, PlanError> {
        if !src.ends_with('/') {
            match self.context.files.get(src, "files") {
                Ok(file) => return self.source(src, &file, dest),
                // Perhaps it is a folder.
                Err(e @ PlanError::Unknown(_)) => return Err(e),
                Err(e) => match self.context.files.list(src, "files")? {
                    Some(names) => return self.tree(src, names, dest),
                    None => return Err(e),
                },
            }
        }
        match self.context.files.list(src, "files")? {
            Some(names) => self.tree(src, names, dest),
            None => Err(PlanError::failed(format!("`src: {src}` is no folder, but ends in a slash"))),
        }
    }

    fn source(&mut self, src: &str, file: &SourceFile, dest: &str) -> Result<Map<String, Json>, PlanError> {
        let path = destination(&mut self.draft, dest, base_name(src)?, &self.folders, self.context)?;
        self.file(&path, self.readable(file)?, Some(file.mode), Some(&file.path))
    }

    /// The content, unless it is a vault.
    fn readable(&self, file: &SourceFile) -> Result<Vec<u8>, PlanError> {
        if file.content.starts_with(b"$ANSIBLE_VAULT;") && !self.vaults {
            return Err(PlanError::failed(format!(
                "{} is encrypted: vaults are not supported; `decrypt: false` copies it as it is",
                file.path
            )));
        }
        Ok(file.content.clone())
    }

    /// One file, and its result.
    fn file(&mut self, dest: &Path, content: Vec<u8>, mode: Option<u32>, src: Option<&str>) -> Result<Map<String, Json>, PlanError> {
        let sum = checksum::sha1(&content);
        if let Some(wanted) = self.checksum
            && !wanted.eq_ignore_ascii_case(&sum)
        {
            return Err(PlanError::failed(format!("the source's SHA-1 is {sum}, not {wanted} as `checksum` says")));
        }
        place(&mut self.draft, dest, content, mode, &self.options)?;
        let mut result = fields(json!({"dest": dest, "checksum": sum}));
        if let Some(src) = src {
            result.insert("src".into(), json!(src));
        }
        describe(&self.draft.host, dest, true, &mut result);
        Ok(result)
    }

    /// The folder things go to, made later: `dest`, or below it under the source's name.
    fn folder(&self, src: &str, dest: &str) -> Result<PathBuf, PlanError> {
        if self.checksum.is_some() {
            return Err(PlanError::failed("`checksum` is for a single file, not for a folder"));
        }
        let path = paths::absolute("dest", dest, self.context)?;
        Ok(if src.ends_with('/') { path } else { path.join(base_name(src)?) })
    }

    fn directory(&mut self, path: &Path) -> Result<(), PlanError> {
        match self.draft.host.stat(path, true)? {
            Some(stat) if stat.kind == FileKind::Directory => Ok(()),
            Some(_) => Err(PlanError::failed(format!("{} is not a directory", path.display()))),
            None => make_directories(&mut self.draft, path, &self.folders),
        }
    }

    fn tree(&mut self, src: &str, names: Vec<String>, dest: &str) -> Result<Map<String, Json>, PlanError> {
        let folder = self.folder(src, dest)?;
        self.directory(&folder)?;
        for name in names {
            if name.ends_with('/') {
                self.directory(&folder.join(name.trim_end_matches('/')))?;
                continue;
            }
            let file = self.context.files.get(&format!("{}/{name}", src.trim_end_matches('/')), "files")?;
            let content = self.readable(&file)?;
            let target = folder.join(&name);
            if let Some(parent) = target.parent() {
                self.directory(parent)?;
            }
            place(&mut self.draft, &target, content, Some(file.mode), &self.options)?;
        }
        self.folder_result(src, &folder)
    }

    fn folder_result(&mut self, src: &str, folder: &Path) -> Result<Map<String, Json>, PlanError> {
        let mut result = fields(json!({"dest": folder, "src": src}));
        describe(&self.draft.host, folder, true, &mut result);
        Ok(result)
    }

    fn remote(&mut self, src: &str, dest: &str) -> Result<Map<String, Json>, PlanError> {
        let from = paths::absolute("src", src, self.context)?;
        match self.draft.host.stat(&from, true)? {
            None => Err(PlanError::failed(format!("{} does not exist on this host", from.display()))),
            Some(stat) if stat.kind == FileKind::Directory => {
                let folder = self.folder(src, dest)?;
                self.copied_directory(&folder, stat.mode)?;
                self.remote_tree(&from, &folder, &mut HashSet::new())?;
                self.folder_result(src, &folder)
            }
            Some(stat) if src.ends_with('/') => Err(PlanError::failed(format!("{src} is {:?}, not a folder", stat.kind).to_lowercase())),
            Some(stat) => {
                let path = destination(&mut self.draft, dest, base_name(src)?, &self.folders, self.context)?;
                let content = self.draft.host.read(&from)?;
                self.file(&path, content, Some(stat.mode), Some(src))
            }
        }
    }

    /// A folder as its source is; `directory_mode` says otherwise for those that are made.
    fn copied_directory(&mut self, path: &Path, mode: u32) -> Result<(), PlanError> {
        let parent = path.parent().filter(|p| p.file_name().is_some());
        parent.map_or(Ok(()), |parent| self.directory(parent))?;
        let given = self.folders.mode.clone();
        self.folders.mode.get_or_insert_with(|| format!("{:04o}", mode & 0o7777));
        let made = self.directory(path);
        self.folders.mode = given;
        made
    }

    /// Copies what is in the folder `from`, following links but never in a circle.
    fn remote_tree(&mut self, from: &Path, to: &Path, seen: &mut HashSet<PathBuf>) -> Result<(), PlanError> {
        let resolved = self.draft.host.resolve(from, true)?;
        if self.draft.host.resolve(to, true)?.starts_with(&resolved) {
            return Err(PlanError::failed(format!("{} can't be copied into itself", from.display())));
        }
        if !seen.insert(resolved) {
            return Ok(());
        }
        for name in self.draft.host.list(from)? {
            let (source, target) = (from.join(&name), to.join(&name));
            match self.draft.host.stat(&source, true)? {
                Some(stat) if stat.kind == FileKind::Directory => {
                    self.copied_directory(&target, stat.mode)?;
                    self.remote_tree(&source, &target, seen)?;
                }
                Some(stat) => {
                    let content = self.draft.host.read(&source)?;
                    // As Ansible: where nothing says otherwise, a file that is copied is copied with its mode.
                    let keep = self.options.wanted.mode.is_none() && !holds(&self.draft, &target, &content)?;
                    if keep {
                        self.options.wanted.mode = Some(PRESERVE.to_owned());
                    }
                    let placed = place(&mut self.draft, &target, content, Some(stat.mode), &self.options);
                    if keep {
                        self.options.wanted.mode = None;
                    }
                    placed?;
                }
                None => return Err(PlanError::failed(format!("{} is a link to nothing: it can't be copied", source.display()))),
            }
        }
        Ok(())
    }
}
