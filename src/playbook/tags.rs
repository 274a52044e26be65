//! Which tasks `--tags` and `--skip-tags` select.

/// The tags asked for and the tags to leave out.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    only: Vec<String>,
    skip: Vec<String>,
}

impl Selection {
    /// From the command line's lists; each entry may itself be a comma-separated list. No `only` means all.
    pub fn new(only: &[String], skip: &[String]) -> Self {
        let cut = |list: &[String]| -> Vec<String> {
            list.iter().flat_map(|t| t.split(',')).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
        };
        let mut only = cut(only);
        if only.is_empty() {
            only.push("all".into());
        }
        Self { only, skip: cut(skip) }
    }

    /// Whether something with these tags runs. `always` runs unless it is skipped by name; `never` runs
    /// only if one of its tags is asked for by name.
    pub fn selects(&self, tags: &[String]) -> bool {
        let has = |tag: &str| tags.iter().any(|t| t == tag);
        let asked = |tag: &str| self.only.iter().any(|t| t == tag);
        let skipped = |tag: &str| self.skip.iter().any(|t| t == tag);
        // Something without tags carries the one tag `untagged`.
        let shared = |list: &[String]| {
            if tags.is_empty() { list.iter().any(|t| t == "untagged") } else { list.iter().any(|t| has(t)) }
        };
        let wanted = has("always")
            || (asked("all") && !has("never"))
            || shared(&self.only)
            || (asked("tagged") && !tags.is_empty() && !has("never"));
        if !wanted {
            return false;
        }
        if skipped("all") {
            return has("always") && !skipped("always");
        }
        !(shared(&self.skip) || (skipped("tagged") && !tags.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(only: &str, skip: &str, tags: &str) -> bool {
        let list = |t: &str| -> Vec<String> { t.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect() };
        Selection::new(&[only.to_owned()], &[skip.to_owned()]).selects(&list(tags))
    }

    #[test]
    fn asked_for() {
        assert!(selects("", "", "") && selects("", "", "a"));
        assert!(selects("a,b", "", "b") && !selects("a", "", "b") && !selects("a", "", ""));
        assert!(selects("tagged", "", "a") && !selects("tagged", "", ""));
        assert!(selects("untagged", "", "") && !selects("untagged", "", "a"));
    }

    #[test]
    fn always_and_never() {
        assert!(selects("a", "", "always") && !selects("a", "always", "always"));
        assert!(!selects("", "", "never") && !selects("", "", "never,b") && selects("b", "", "never,b") && selects("never", "", "never"));
        assert!(!selects("tagged", "", "never,b"));
    }

    #[test]
    fn left_out() {
        assert!(!selects("", "a", "a,b") && selects("", "a", "b"));
        assert!(!selects("", "all", "a") && selects("", "all", "always") && !selects("", "all,always", "always"));
        assert!(!selects("", "tagged", "a") && selects("", "tagged", ""));
        assert!(!selects("", "untagged", ""));
    }
}
