//! The table: subjects, their figures, and what was to be reached.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::measure::{Figure, Figures};
use super::quiet::Quiet;
use super::subject::{Place, Subject};

/// How often each is measured; odd, so that the median is one of them.
const TURNS: usize = 7;
/// How long a table waits in all for others to leave the machine alone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Subjects that are measured in turn.
pub struct Section {
    /// What it is chosen by.
    pub name: &'static str,
    /// What its figures are of.
    pub title: &'static str,
    /// Ours, and others.
    pub subjects: Vec<Subject>,
    /// What is to be reached.
    pub goals: Vec<Goal>,
}

/// A figure of one subject is to be at most so many times that of another.
#[derive(Clone, Copy)]
pub struct Goal {
    /// Where: the two processors of `Place::Apart` count as unpinned.
    pub at: Place,
    /// Of which figure.
    pub figure: Figure,
    /// Whose.
    pub of: &'static str,
    /// Against whose; shown in the row of this one.
    pub against: &'static str,
    /// How many times.
    pub at_most: f64,
}

/// A row: a subject, and its figures in every turn.
type Row = (&'static str, Vec<Figures>);

impl Section {
    /// Measures everything in turn and prints the table.
    pub fn run(&self) {
        for place in Place::ALL {
            heading(&format!("{}, {place}", self.title));
            let mut quiet = Quiet::new(PATIENCE);
            let mut rows: Vec<(&Subject, Vec<Figures>)> = self.subjects.iter().map(|s| (s, Vec::new())).collect();
            for _ in 0..TURNS {
                for (subject, turns) in &mut rows {
                    quiet.wait();
                    turns.push(subject.repetition(place));
                }
            }
            let rows: Vec<Row> = rows.into_iter().map(|(subject, turns)| (subject.name, turns)).collect();
            rows.iter().for_each(|row| self.print(row, &rows, place));
            quiet.print();
        }
    }

    /// A row, with as many lines as it has goals.
    fn print(&self, (name, turns): &Row, rows: &[Row], place: Place) {
        let [p50, mean, p99] = [Figure::P50, Figure::Mean, Figure::P99].map(|figure| median(all(turns, figure)));
        print!("{name:<34} {p50:>9.2} {mean:>9.2} {p99:>9.2}");
        let of = |goal: &Goal| rows.iter().find(|(name, _)| *name == goal.of).map(|(_, turns)| turns);
        let is_meant = |goal: &&Goal| (goal.at == Place::Pinned) == (place == Place::Pinned) && goal.against == *name;
        let goals = self.goals.iter().filter(is_meant);
        let lines: Vec<String> = goals.filter_map(|goal| of(goal).map(|ours| verdict(goal, ours, turns))).collect();
        if lines.is_empty() {
            // Without a goal, the first subject by this one.
            println!(" {:>6} {:>7.2}", Figure::P50.name(), ratio(&rows[0].1, turns, Figure::P50));
        }
        for (index, line) in lines.iter().enumerate() {
            println!("{}{line}", if index == 0 { "".into() } else { " ".repeat(64) });
        }
    }
}

/// What a benchmark of one kind begins with.
pub fn heading(title: &str) {
    println!("\n{title}");
    println!("{:<34} {:>9} {:>9} {:>9} {:>14} {:>8}", "", "p50 us", "mean us", "p99 us", "ratio", "at most");
}

fn verdict(goal: &Goal, ours: &[Figures], theirs: &[Figures]) -> String {
    let ratio = ratio(ours, theirs, goal.figure);
    let met = if ratio <= goal.at_most { "met" } else { "not met" };
    format!(" {:>6} {ratio:>7.2} {:>8.2}  {met}", goal.figure.name(), goal.at_most)
}

/// The median of the ratios of each turn: what the machine is like changes from turn to turn, for both.
fn ratio(ours: &[Figures], theirs: &[Figures], figure: Figure) -> f64 {
    median(all(ours, figure).iter().zip(all(theirs, figure)).map(|(ours, theirs)| ours / theirs).collect())
}

fn all(turns: &[Figures], figure: Figure) -> Vec<f64> {
    turns.iter().map(|turn| turn.get(figure)).collect()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
