//! Where the boxes and arrows of a picture go: from left to right, the way the messages go. What is not connected is
//! laid out by itself and put beside or below the rest.

use dagre::graph::{Graph, GraphOptions};
use dagre::layout::types::LabelPos;
use dagre::{EdgeLabel, GraphLabel, LayoutOptions, NodeLabel, RankDir, Ranker};

/// The room between what is not connected.
const GAP: f64 = 40.0;
/// A row of such parts is this wide, unless one alone is wider.
const ROW: f64 = 1600.0;

/// The time it takes grows with the square of the links that are connected. This many of them take some seconds.
const EFFORT_MAX: usize = 500 * 500;

/// Width and height.
pub type Size = (f64, f64);
/// A place, from the left and the top.
pub type Point = (f64, f64);

/// A connection to be laid out, with the room that its label needs.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub from: usize,
    pub to: usize,
    pub label: Size,
}

/// Where everything is.
#[derive(Debug, Default)]
pub struct Plan {
    pub size: Size,
    /// The middle of each box.
    pub boxes: Vec<Point>,
    pub routes: Vec<Route>,
}

/// Where an arrow is.
#[derive(Debug, Default, Clone)]
pub struct Route {
    /// From the border of one box to that of the other.
    pub points: Vec<Point>,
    /// The middle of its label.
    pub label: Point,
}

/// Lays out boxes of these sizes; `None` where it would take longer than somebody waits, and be of no use to the eye.
pub fn plan(boxes: &[Size], links: &[Link]) -> Option<Plan> {
    let mut plan =
        Plan { size: (0.0, 0.0), boxes: vec![(0.0, 0.0); boxes.len()], routes: vec![Route::default(); links.len()] };
    let mut parts = parts(boxes.len(), links);
    if parts.iter().map(|part| part.links.len().pow(2)).sum::<usize>() > EFFORT_MAX {
        return None;
    }
    parts.iter_mut().for_each(|part| part.lay_out(boxes, links));
    // The high ones first, so that a row is filled with what is about as high.
    parts.sort_by(|a, b| b.size.1.total_cmp(&a.size.1));
    let row = parts.iter().map(|part| part.size.0).fold(ROW, f64::max);
    let (mut at, mut below) = ((0.0, 0.0), 0.0_f64);
    for part in parts {
        if at.0 > 0.0 && at.0 + part.size.0 > row {
            at = (0.0, below + GAP);
        }
        below = below.max(at.1 + part.size.1);
        plan.size = (plan.size.0.max(at.0 + part.size.0), below);
        part.put(at, &mut plan);
        at.0 += part.size.0 + GAP;
    }
    Some(plan)
}

/// Boxes that are connected, and the links between them, by their places in what is to be laid out.
#[derive(Debug, Default)]
struct Part {
    boxes: Vec<usize>,
    links: Vec<usize>,
    size: Size,
    graph: Graph<NodeLabel, EdgeLabel>,
}

fn parts(boxes: usize, links: &[Link]) -> Vec<Part> {
    let mut neighbours = vec![Vec::new(); boxes];
    for link in links {
        neighbours[link.from].push(link.to);
        neighbours[link.to].push(link.from);
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut part_of = vec![None; boxes];
    for first in 0..boxes {
        if part_of[first].is_some() {
            continue;
        }
        let mut part = Part::default();
        let mut next = vec![first];
        while let Some(one) = next.pop() {
            if part_of[one].replace(parts.len()).is_none() {
                part.boxes.push(one);
                next.extend(&neighbours[one]);
            }
        }
        parts.push(part);
    }
    for (place, link) in links.iter().enumerate() {
        if let Some(part) = part_of[link.from] {
            parts[part].links.push(place);
        }
    }
    parts
}

impl Part {
    fn lay_out(&mut self, boxes: &[Size], links: &[Link]) {
        if let ([only], []) = (&self.boxes[..], &self.links[..]) {
            self.size = boxes[*only];
            return;
        }
        // Several links may join the same two boxes.
        let mut graph = Graph::with_options(GraphOptions { multigraph: true, ..GraphOptions::default() });
        for place in &self.boxes {
            let (width, height) = boxes[*place];
            graph.set_node(place.to_string(), Some(NodeLabel { width, height, ..NodeLabel::default() }));
        }
        for place in &self.links {
            let Link { from, to, label: (width, height) } = links[*place];
            let label = EdgeLabel { width, height, labelpos: LabelPos::Center, ..EdgeLabel::default() };
            graph.set_edge(from.to_string(), to.to_string(), Some(label), Some(&place.to_string()));
        }
        let options = LayoutOptions {
            rankdir: RankDir::LR,
            nodesep: 24.0,
            edgesep: 12.0,
            ranksep: 40.0,
            ranker: Ranker::TightTree,
            ..LayoutOptions::default()
        };
        dagre::layout(&mut graph, Some(options));
        self.size = graph.graph_label::<GraphLabel>().map_or((0.0, 0.0), |label| (label.width, label.height));
        self.graph = graph;
    }

    /// Copies it to a plan, with its left upper corner `at` that place.
    fn put(&self, at: Point, plan: &mut Plan) {
        let point = |x: f64, y: f64| (at.0 + x, at.1 + y);
        for place in &self.boxes {
            let middle = self.graph.node(&place.to_string()).and_then(|label| label.x.zip(label.y));
            // One that is alone is as large as its part.
            let (x, y) = middle.unwrap_or((self.size.0 / 2.0, self.size.1 / 2.0));
            plan.boxes[*place] = point(x, y);
        }
        for edge in self.graph.edges() {
            let place = edge.name.as_deref().and_then(|name| name.parse::<usize>().ok());
            if let (Some(place), Some(label)) = (place, self.graph.edge_by_obj(&edge)) {
                let points = label.points.iter().map(|at| point(at.x, at.y)).collect();
                plan.routes[place] = Route { points, label: point(label.x.unwrap_or(0.0), label.y.unwrap_or(0.0)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: Size = (100.0, 40.0);

    fn links(ends: &[(usize, usize)]) -> Vec<Link> {
        ends.iter().map(|(from, to)| Link { from: *from, to: *to, label: (50.0, 16.0) }).collect()
    }

    fn overlap(a: Point, b: Point) -> bool {
        (a.0 - b.0).abs() < BOX.0 && (a.1 - b.1).abs() < BOX.1
    }

    /// Lays it out and checks that no two boxes overlap, that all is within, and that every arrow begins and ends at
    /// its boxes.
    fn checked(boxes: usize, ends: &[(usize, usize)]) -> Plan {
        let plan = plan(&vec![BOX; boxes], &links(ends)).expect("not too many");
        let all = || plan.boxes.iter().enumerate();
        for (a, at) in all() {
            assert!(all().all(|(b, other)| a == b || !overlap(*at, *other)), "{plan:?}");
            assert!(at.0 + BOX.0 / 2.0 <= plan.size.0 + 0.1 && at.1 + BOX.1 / 2.0 <= plan.size.1 + 0.1, "{plan:?}");
            assert!(at.0 >= BOX.0 / 2.0 - 0.1 && at.1 >= BOX.1 / 2.0 - 0.1, "{plan:?}");
        }
        let touches = |place: Point, one: usize| {
            let middle = plan.boxes[one];
            (place.0 - middle.0).abs() <= BOX.0 / 2.0 + 0.1 && (place.1 - middle.1).abs() <= BOX.1 / 2.0 + 0.1
        };
        for ((from, to), route) in ends.iter().zip(&plan.routes) {
            let ([first, ..], [.., last]) = (&route.points[..], &route.points[..]) else { panic!("{plan:?}") };
            assert!(touches(*first, *from) && touches(*last, *to), "{from} to {to}: {plan:?}");
        }
        plan
    }

    #[test]
    fn messages_go_from_left_to_right() {
        let plan = checked(3, &[(0, 1), (1, 2)]);
        assert!(plan.boxes[0].0 < plan.boxes[1].0 && plan.boxes[1].0 < plan.boxes[2].0, "{plan:?}");
        assert_eq!(plan.boxes[0].1, plan.boxes[2].1);
    }

    #[test]
    fn whoever_talks_in_circles_or_twice_is_laid_out_too() {
        checked(3, &[(0, 1), (1, 2), (2, 0)]);
        checked(2, &[(0, 1), (0, 1), (1, 0)]);
        checked(6, &[(0, 3), (1, 3), (2, 3), (3, 4), (3, 5), (4, 3)]);
    }

    #[test]
    fn what_is_not_connected_is_put_side_by_side_in_rows() {
        let pairs: Vec<_> = (0..40).map(|n| (2 * n, 2 * n + 1)).collect();
        let plan = checked(81, &pairs);
        assert!(plan.size.0 <= ROW && plan.size.1 < plan.size.0, "{:?}", plan.size);
        assert_eq!(checked(0, &[]).size, (0.0, 0.0));
    }

    #[test]
    fn many_links_are_laid_out_and_too_many_are_not() {
        let star = |links| (1..=links).map(|n| if n % 2 == 0 { (0, n) } else { (n, 0) }).collect::<Vec<_>>();
        checked(201, &star(200));
        assert!(plan(&[BOX; 502], &links(&star(501))).is_none());
        let apart: Vec<_> = (0..1000).map(|n| (2 * n, 2 * n + 1)).collect();
        assert!(plan(&[BOX; 2000], &links(&apart)).is_some());
    }
}
