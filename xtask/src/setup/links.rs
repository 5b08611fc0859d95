//! `target/tools`: one link per tool, so that whoever looks for a tool needs to know one folder
//! only.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use super::Tool;

/// Makes `folder` hold the links to `tools`. A link is replaced by a rename, so that a run beside
/// this one never misses it, and a link whose target has gone is removed.
pub(super) fn place(folder: &Path, tools: &[Tool]) -> Result<()> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for tool in tools {
        let link = folder.join(&tool.name);
        if fs::read_link(&link).is_ok_and(|target| target == tool.path) {
            continue;
        }
        let fresh = folder.join(format!(".{}.{}", tool.name, std::process::id()));
        symlink(&tool.path, &fresh)
            .and_then(|()| fs::rename(&fresh, &link))
            .with_context(|| {
                format!("cannot link {} to {}", link.display(), tool.path.display())
            })?;
    }
    remove_dangling(folder).with_context(|| format!("cannot tidy {}", folder.display()))
}

fn remove_dangling(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let link = entry?.path();
        if link.is_symlink() && !link.exists() {
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_follow_their_tools_and_dangling_ones_go() {
        let folder = std::env::temp_dir().join(format!("sluice-links-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let (first, second) = (folder.join("entry-1"), folder.join("entry-2"));
        for tool in [&first, &second] {
            fs::create_dir_all(&folder).unwrap();
            fs::write(tool, "x").unwrap();
        }
        let tools = folder.join("tools");
        place(
            &tools,
            &[Tool::new("a", first.clone()), Tool::new("b", first.clone())],
        )
        .unwrap();
        assert_eq!(fs::read_link(tools.join("a")).unwrap(), first);
        fs::remove_file(&first).unwrap();
        place(&tools, &[Tool::new("a", second.clone())]).unwrap();
        assert_eq!(fs::read_link(tools.join("a")).unwrap(), second);
        assert_eq!(
            fs::read_dir(&tools).unwrap().count(),
            1,
            "the dangling link is gone and nothing else is left"
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
