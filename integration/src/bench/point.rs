//! Pure: figures, and what is asked of them.

use serde::Serialize;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// What was measured.
    pub name: String,
    pub unit: &'static str,
    pub min: f64,
    pub median: f64,
    pub max: f64,
    /// What it must be, where something is promised of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
    /// The ratio that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// Whether it is not missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
}

/// A bound of ratios.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    AtLeast(f64),
    AtMost(f64),
}

impl Gate {
    /// Missed only where the middle nine tenths of the ratios lie beyond it.
    pub(super) fn held(self, mut ratios: Vec<f64>) -> bool {
        ratios.sort_by(f64::total_cmp);
        // Of few, one at least stays.
        let most = ratios.len().saturating_sub(1) / 2;
        let out = ratios.len().div_ceil(20).min(most);
        let (low, high) = (ratios.get(out), ratios.iter().rev().nth(out));
        match self {
            Self::AtLeast(bound) => high.is_some_and(|high| *high >= bound),
            Self::AtMost(bound) => low.is_some_and(|low| *low <= bound),
        }
    }
}

/// What a figure must be, and whether it is.
#[derive(Debug, Clone, Serialize)]
pub struct Promise {
    pub text: String,
    pub kept: bool,
}

impl Point {
    /// The figure that several rounds give.
    pub(super) fn of(name: String, unit: &'static str, mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let at = |index: usize| rounds.get(index).copied().unwrap_or_default();
        Self {
            name,
            unit,
            min: at(0),
            median: at(rounds.len() / 2),
            max: at(rounds.len().saturating_sub(1)),
            promise: None,
            gate: None,
            held: None,
        }
    }

    /// The same, which may be no more or no less.
    pub(super) fn bounded(name: String, unit: &'static str, rounds: Vec<f64>, gate: Gate) -> Self {
        Self {
            gate: Some(gate),
            held: Some(gate.held(rounds.clone())),
            ..Self::of(name, unit, rounds)
        }
    }

    /// Ratios of pairs.
    pub(super) fn against(name: String, ratios: Vec<f64>, gate: Option<Gate>) -> Self {
        Self {
            gate,
            held: gate.map(|gate| gate.held(ratios.clone())),
            ..Self::of(name, "times", ratios)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_missed_by_what_lies_beyond_it_as_a_whole() {
        let held = |gate: Gate, ratios: &[f64]| gate.held(ratios.to_vec());
        assert!(held(Gate::AtMost(1.0), &[0.3]) && !held(Gate::AtMost(1.0), &[1.3]));
        assert!(held(Gate::AtLeast(1.0), &[1.3]) && !held(Gate::AtLeast(1.0), &[0.3]));
        assert!(!held(Gate::AtLeast(1.0), &[]));
        let fifteen: Vec<f64> = (0..15).map(|n| f64::from(n) / 10.0).collect();
        assert!(held(Gate::AtLeast(1.3), &fifteen) && !held(Gate::AtLeast(1.4), &fifteen));
        assert!(held(Gate::AtMost(0.1), &fifteen) && !held(Gate::AtMost(0.05), &fifteen));
    }
}
