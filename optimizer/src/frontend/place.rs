//! Numbers for the places that a reading passes through.
//!
//! A function is read several times, and what one reading learns of a loop, or of a piece of memory, the next one must
//! find under the same number, whatever else it reads in between. So a place is numbered by the way to it: the
//! statements, calls and copies of loop bodies around it. A place has two numbers: one that tells the copies of an
//! unrolled loop body apart, for what is learned of the statements in them, and one that does not, for memory: copies of
//! a body use the same memory again.

use super::value::Storage;
use std::collections::BTreeMap;

/// The numbers given so far, in this reading and in earlier ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// By the number of the place around, the position in the source, and which one it is there.
    known: BTreeMap<(usize, usize, usize), usize>,
}

impl Places {
    fn number(&mut self, around: usize, position: usize, index: usize) -> usize {
        let next = self.known.len() + 1;
        *self.known.entry((around, position, index)).or_insert(next)
    }
}

/// Where a reading is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Here {
    /// The place, with the copies of the bodies around it told apart.
    pub(super) copy: usize,
    /// The place, whichever copies it is in.
    pub(super) site: usize,
    /// The last piece of memory that was made there.
    last: Storage,
}

/// In the position of a copy of a body.
const COPY: usize = usize::MAX;

/// A place makes pieces of memory with numbers from its own number shifted by this.
const OF_PLACE: usize = 32;

/// Of each piece there are as many instances as these bits number.
pub(super) const INSTANCES: usize = 12;

/// Where a reading is, and the places that it passed through.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    /// The numbers of places, which readings share.
    places: Places,
    /// The place that is being read.
    here: Here,
    /// How often each position was entered in each place.
    visits: BTreeMap<(usize, usize), usize>,
}

impl Position {
    /// The beginning of a reading, with the numbers that earlier ones gave.
    pub(super) fn with(places: Places) -> Position {
        Position { places, ..Position::default() }
    }

    /// The numbers given so far, for the next reading.
    pub(super) fn into_places(self) -> Places {
        self.places
    }

    /// Enters the next place at a position of the source. The caller gives what is returned to [`Position::leave`].
    pub(super) fn enter(&mut self, position: usize) -> Here {
        let outer = self.here;
        self.here = self.next(position);
        outer
    }

    /// Enters a copy of a loop's body.
    pub(super) fn enter_copy(&mut self, copy: usize) -> Here {
        let outer = self.here;
        let Here { copy: around, site, .. } = outer;
        let (copy, site) = (self.places.number(around, COPY, copy), self.places.number(site, COPY, 0));
        self.here = Here { copy, site, last: site << OF_PLACE };
        outer
    }

    /// Goes back to where a place was entered.
    pub(super) fn leave(&mut self, outer: Here) {
        self.here = outer;
    }

    /// The next place at a position of the source, as it would be entered.
    pub(super) fn next(&mut self, position: usize) -> Here {
        let Here { copy: around, site, .. } = self.here;
        let index = self.visits.entry((around, position)).or_insert(0);
        *index += 1;
        let index = *index;
        let (copy, site) = (self.places.number(around, position, index), self.places.number(site, position, index));
        Here { copy, site, last: site << OF_PLACE }
    }

    /// The number of the next piece of memory that is made here: the first instance of it.
    pub(super) fn next_storage(&mut self) -> Storage {
        self.here.last += 1 << INSTANCES;
        self.here.last
    }
}
