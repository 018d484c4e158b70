//! Who this machine is, by its flags and its environment: a label, or a number among machines
//! that are alike.

use crate::error::Error;
use crate::exit::Exit;
use crate::job::Vantage;
use crate::ticket::Holder;

/// The label that somebody chose for this machine.
const CHOSEN: &str = "MUSTER_VANTAGE";
/// The labels that a platform gives, the first that is set.
const REGIONS: [&str; 2] = ["FLY_REGION", "AWS_REGION"];
/// The numbers from 0 that a platform gives machines that are alike, the first that is set: one's
/// own, an indexed Kubernetes job's, a Cloud Run job's, an AWS Batch array job's.
const INDICES: [&str; 4] = [
    "MUSTER_INDEX",
    "JOB_COMPLETION_INDEX",
    "CLOUD_RUN_TASK_INDEX",
    "AWS_BATCH_JOB_ARRAY_INDEX",
];

fn bad(text: String) -> Error {
    Error::new(Exit::BadConfiguration, text)
}

/// The label that was chosen, by `--vantage` or the environment. `env` reads a variable, `None`
/// when it is unset.
pub fn chosen(
    flag: Option<&Vantage>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Option<Vantage>, Error> {
    match flag {
        Some(label) => Ok(Some(label.clone())),
        None => of(&env, &[CHOSEN]),
    }
}

/// The label of a prober that needs one: chosen, else its region's.
pub fn label(
    flag: Option<&Vantage>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Vantage, Error> {
    let found = match chosen(flag, &env)? {
        Some(label) => Some(label),
        None => of(&env, &REGIONS)?,
    };
    found.ok_or_else(|| {
        bad(format!(
            "no vantage label; give --vantage LABEL or set {CHOSEN}, {}",
            REGIONS.join(", ")
        ))
    })
}

/// Who looks into a ticket book: by its chosen label, else its number, else its region.
pub fn holder(
    flag: Option<&Vantage>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Holder, Error> {
    let index = of(&env, &INDICES)?;
    let label = match chosen(flag, &env)? {
        None if index.is_none() => of(&env, &REGIONS)?,
        chosen => chosen,
    };
    Ok(Holder { label, index })
}

/// The first of these variables that is set; an empty one is not.
fn of<T: std::str::FromStr<Err: std::fmt::Display>>(
    env: &impl Fn(&str) -> Option<String>,
    names: &[&str],
) -> Result<Option<T>, Error> {
    let mut names = names.iter().copied();
    let set = names.find_map(|name| Some((name, env(name).filter(|v| !v.is_empty())?)));
    let Some((name, value)) = set else {
        return Ok(None);
    };
    let parsed = value.parse().map(Some);
    parsed.map_err(|e| bad(format!("{name}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(vars: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            let (_, value) = vars.iter().find(|(n, _)| *n == name)?;
            Some((*value).to_owned())
        }
    }

    fn labelled(vars: &[(&str, &str)]) -> Result<String, String> {
        label(None, env(vars))
            .map(|v| v.to_string())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_label_has_an_order_of_sources() {
        let all = [
            ("AWS_REGION", "eu-west-1"),
            ("FLY_REGION", "iad"),
            ("MUSTER_VANTAGE", "home"),
        ];
        assert_eq!(labelled(&all), Ok("home".into()));
        assert_eq!(labelled(&all[..2]), Ok("iad".into()));
        assert_eq!(labelled(&all[..1]), Ok("eu-west-1".into()));
        assert_eq!(
            labelled(&[("MUSTER_VANTAGE", ""), ("FLY_REGION", "iad")]),
            Ok("iad".into())
        );
        let flag = "flag".parse().unwrap();
        assert_eq!(label(Some(&flag), env(&all)).unwrap(), flag);
    }

    #[test]
    fn a_wrong_or_missing_label_says_where_it_belongs() {
        let missing = labelled(&[]).unwrap_err();
        assert!(missing.contains("--vantage") && missing.contains("MUSTER_VANTAGE"));
        let wrong = labelled(&[("FLY_REGION", "New York")]).unwrap_err();
        assert!(wrong.starts_with("FLY_REGION: `New York`"), "{wrong}");
    }

    #[test]
    fn machines_that_are_alike_go_by_their_number() {
        let who = |vars: &[(&str, &str)]| {
            let holder = holder(None, env(vars)).unwrap();
            (holder.label.map(|l| l.to_string()), holder.index)
        };
        let region = ("AWS_REGION", "eu-west-1");
        let index = ("JOB_COMPLETION_INDEX", "2");
        assert_eq!(who(&[region]), (Some("eu-west-1".into()), None));
        assert_eq!(who(&[region, index]), (None, Some(2)));
        let chosen = ("MUSTER_VANTAGE", "home");
        assert_eq!(who(&[chosen, index]), (Some("home".into()), Some(2)));
        assert_eq!(who(&[]), (None, None));
        assert!(holder(None, env(&[("MUSTER_INDEX", "two")])).is_err());
    }
}
