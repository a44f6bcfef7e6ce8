//! Which lane each commit and each line between two of them has.

use std::collections::HashMap;

use irmin::Id;

/// Where everything is drawn: rows are commits, in the order that was given.
pub struct Layout {
    /// The lane of each row's commit.
    pub lanes: Vec<usize>,
    /// Lines from children to parents.
    pub edges: Vec<Edge>,
    /// How many lanes there are.
    pub width: usize,
}

/// A line from a child to a parent.
#[derive(Debug, PartialEq, Eq)]
pub struct Edge {
    /// The child's row.
    pub child: usize,
    /// The parent's row; `None` if it is not shown.
    pub parent: Option<usize>,
    /// The lane on the way.
    pub lane: usize,
}

/// Lays out commits, none of which comes before its children, with their parents.
pub fn lay_out(commits: &[(Id, &[Id])]) -> Layout {
    let rows: HashMap<Id, usize> = commits
        .iter()
        .enumerate()
        .map(|(row, (id, _))| (*id, row))
        .collect();
    // What each lane leads down to.
    let mut waiting: Vec<Option<Id>> = Vec::new();
    let mut layout = Layout {
        lanes: Vec::with_capacity(commits.len()),
        edges: Vec::new(),
        width: 0,
    };
    for (row, (id, parents)) in commits.iter().enumerate() {
        let lane = match waiting.iter().position(|awaited| *awaited == Some(*id)) {
            Some(lane) => lane,
            None => free(&mut waiting),
        };
        for awaited in &mut waiting {
            awaited.take_if(|awaited| awaited == id);
        }
        layout.lanes.push(lane);
        // The commit itself stands here while its other parents look for lanes.
        waiting[lane] = Some(*id);
        for (number, parent) in parents.iter().enumerate() {
            let to = rows.get(parent).copied();
            let way = match waiting.iter().position(|awaited| *awaited == Some(*parent)) {
                _ if number == 0 => lane,
                Some(way) => way,
                None => free(&mut waiting),
            };
            if to.is_some() && number > 0 {
                waiting[way] = Some(*parent);
            }
            layout.edges.push(Edge {
                child: row,
                parent: to,
                lane: way,
            });
        }
        waiting[lane] = parents.first().copied().filter(|id| rows.contains_key(id));
        layout.width = layout.width.max(waiting.len());
    }
    layout
}

/// The first lane that leads nowhere.
fn free(waiting: &mut Vec<Option<Id>>) -> usize {
    match waiting.iter().position(Option::is_none) {
        Some(lane) => lane,
        None => {
            waiting.push(None);
            waiting.len() - 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> Id {
        Id::from_bytes(&[number; 20]).unwrap()
    }

    #[test]
    fn a_branch_has_a_lane_of_its_own_until_it_is_merged() {
        // 4 merges 3 into 2; both come from 1, whose parent is not shown.
        let [zero, one, two, three, four] = [0, 1, 2, 3, 4].map(id);
        let layout = lay_out(&[
            (four, &[two, three]),
            (three, &[one]),
            (two, &[one]),
            (one, &[zero]),
        ]);
        assert_eq!(layout.lanes, [0, 1, 0, 0]);
        assert_eq!(layout.width, 2);
        let edge = |child, parent, lane| Edge {
            child,
            parent,
            lane,
        };
        assert_eq!(
            layout.edges,
            [
                edge(0, Some(2), 0),
                edge(0, Some(1), 1),
                edge(1, Some(3), 1),
                edge(2, Some(3), 0),
                edge(3, None, 0),
            ]
        );
    }
}
