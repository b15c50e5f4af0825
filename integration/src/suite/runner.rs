//! Shell: runs cases: those that can, side by side; the others by themselves; each cleaned up after, also
//! when it failed.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::case::{self, Case, Turn};
use super::diagnosis;
use super::expect;
use super::scene::{BOTH, Scene, Stage};

/// How cases run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// How many at once
    pub jobs: usize,
    /// Leave what a failed case made
    pub keep: bool,
}

/// All of them, turn by turn.
pub fn run(stage: &Stage, cases: &[Case], manner: Manner) {
    let report = &stage.report;
    let facts = stage.ground.facts();
    let mut together = VecDeque::new();
    let mut alone = Vec::new();
    for case in cases {
        match case::absent(case, &facts) {
            Some(why) => report.absent(case, why),
            None if case.turn == Turn::Together => together.push_back(*case),
            None => alone.push(*case),
        }
    }
    let one = |case: &Case| {
        if !expect::is_interrupted() {
            one(stage, case, manner);
        }
    };
    alone
        .iter()
        .filter(|c| c.turn < Turn::Together)
        .for_each(one);
    let queue = Mutex::new(together);
    std::thread::scope(|scope| {
        for _ in 0..manner.jobs {
            scope.spawn(|| {
                while let Some(case) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) {
                    one(&case);
                }
            });
        }
    });
    alone
        .iter()
        .filter(|c| c.turn > Turn::Together)
        .for_each(one);
}

fn one(stage: &Stage, case: &Case, manner: Manner) {
    let report = &stage.report;
    let scene = Scene::new(stage, case.name);
    let result = prepare(&scene, case).and_then(|()| (case.run)(&scene));
    let took = scene.elapsed();
    let kept = match result {
        Ok(()) => {
            report.passed(case, took);
            false
        }
        Err(error) => {
            let mut record = scene.told().join("\n");
            record.push('\n');
            record.push_str(&diagnosis::of(&scene));
            if manner.keep {
                let spaces = scene.namespaces().join(", ");
                record.push_str(&format!("kept: {spaces} in both clusters\n"));
            }
            report.failed(case, took, format!("{error:#}"), &record);
            // It may have taken them along.
            stage.clients.forget();
            manner.keep
        }
    };
    if !kept && let Err(error) = scene.clean() {
        report.say(&format!(
            "       cleaning up after {}: {error:#}",
            case.name
        ));
    }
}

fn prepare(scene: &Scene<'_>, case: &Case) -> anyhow::Result<()> {
    if case.has_namespace {
        for side in BOTH {
            scene.at(side).make()?;
        }
    }
    Ok(())
}
