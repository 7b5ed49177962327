//! The table of AoE messages that carry I/O, from the moment a request is cut until every copy that
//! was sent is known to be dead.

use super::tag::{COPIES, Tag, Tags, Word};
use crate::Instant;
use crate::limits::MAX_FRAMES;

/// The end of a list.
pub(crate) const NIL: u16 = u16::MAX;

/// Where a frame is in its life; it is in the list that belongs to its state.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum FrameState {
    /// Unused.
    Free,
    /// Must be sent (again) as soon as a window allows.
    Queued,
    /// Must be sent again, but not yet: the target said that it was busy.
    Delayed,
    /// The newest copy was sent on `path` and no answer came yet.
    InFlight,
    /// Its request has what it needs, but copies of this write may still reach the target.
    Ghost,
}

/// Why the newest copy of a frame was sent.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Sign {
    /// It is the first, or was asked for again for a reason that is no loss.
    None,
    /// The copy before it was overtaken by the answer to a later frame.
    Overtaken,
    /// Nothing was heard for too long.
    Silence,
}

/// What is true of a frame, or not, a bit each.
#[derive(Copy, Clone, Debug)]
struct Marks(u8);

impl Marks {
    const MODIFIES: u8 = 1;
    const ORPHANED: u8 = 2;
    const DOUBTED: u8 = 4;
    const SPLIT: u8 = 8;
    const HELD: u8 = 16;

    const fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }
}

/// One AoE message: a part of one request. Opaque to the caller, who only lends the memory.
#[derive(Copy, Clone, Debug)]
pub struct Frame {
    pub(crate) state: FrameState,
    /// The path that the newest copy went by.
    pub(crate) path: u8,
    /// Every path that a copy went by, a bit each.
    pub(crate) paths_used: u8,
    /// How often the target refused it for a reason that can pass.
    pub(crate) refusals: u8,
    marks: Marks,
    /// Why the newest copy was sent, or is about to be.
    pub(crate) sign: Sign,
    /// The request it is a part of.
    pub(crate) io: u16,
    /// That request's generation, by which a ghost knows its own request's newer frames.
    pub(crate) io_generation: u32,
    /// Copies sent.
    copies: u16,
    /// Which of the last 16 copies were answered, by copy number modulo 16.
    answered: u16,
    pub(crate) sectors: u32,
    /// First sector of a read or write, counted from the start of the request.
    pub(crate) offset: u32,
    /// First sector, counted from the start of the disk.
    pub(crate) lba: u64,
    /// Sequence number of the newest copy, in the order of sending of the whole target.
    pub(crate) seq: u64,
    /// When the first copy was sent: of this frame, or of the one that it is a part of. Of a ghost, when the newest was.
    pub(crate) first_sent: Instant,
    /// When the newest copy was sent; of a ghost, when its copies were last able to leave this host.
    pub(crate) last_sent: Instant,
    /// What the tag of the newest copy has beside the slot; of a slot that is free, what it had last.
    word: Word,
    prev: u16,
    next: u16,
}

impl Frame {
    /// What every slot of a lent table must hold.
    pub const EMPTY: Self = Self {
        state: FrameState::Free,
        path: 0,
        paths_used: 0,
        refusals: 0,
        marks: Marks(0),
        sign: Sign::None,
        io: NIL,
        io_generation: 0,
        copies: 0,
        answered: 0,
        sectors: 0,
        offset: 0,
        lba: 0,
        seq: 0,
        first_sent: Instant::from_nanos(0),
        last_sent: Instant::from_nanos(0),
        word: Word::NONE,
        prev: NIL,
        next: NIL,
    };

    /// Makes it a part of a request that changes the disk, or of one that does not.
    pub(crate) fn set_modifies(&mut self, modifies: bool) {
        self.marks = Marks(if modifies { Marks::MODIFIES } else { 0 });
    }

    /// Makes it a part of a frame that was too large: its age is that one's.
    pub(crate) const fn set_split(&mut self, since: Instant) {
        self.first_sent = since;
        self.marks.0 |= Marks::SPLIT;
    }

    /// It is a part of a larger one, which may have been sent before.
    pub(crate) const fn is_split(&self) -> bool {
        self.marks.has(Marks::SPLIT)
    }

    /// A write or TRIM: a late copy of it can destroy newer data.
    pub(crate) const fn modifies(&self) -> bool {
        self.marks.has(Marks::MODIFIES)
    }

    /// A path that a copy went by is gone.
    pub(crate) const fn orphan(&mut self, path: u8) {
        self.paths_used &= !(1 << path);
        self.set_orphaned();
    }

    /// From now on no later answer proves all copies dead.
    pub(crate) const fn set_orphaned(&mut self) {
        self.marks.0 |= Marks::ORPHANED;
    }

    /// A ring without link may keep a copy, or does so no more.
    pub(crate) const fn set_held(&mut self, held: bool) {
        if held {
            self.marks.0 |= Marks::HELD;
        } else {
            self.marks.0 &= !Marks::HELD;
        }
    }

    /// A ring without link may keep a copy.
    pub(crate) const fn is_held(&self) -> bool {
        self.marks.has(Marks::HELD)
    }

    /// No later answer can prove all copies dead: a path is gone, or what is sent by it now goes another way.
    pub(crate) const fn is_orphaned(&self) -> bool {
        self.marks.has(Marks::ORPHANED)
    }

    /// A copy of it was sent, or of the frame that it is a part of.
    pub(crate) fn was_sent(&self) -> bool {
        self.first_sent != Self::EMPTY.first_sent
    }

    /// An answer says no. True if one did so before: the second is believed.
    pub(crate) const fn doubt(&mut self) -> bool {
        let before = self.marks.has(Marks::DOUBTED);
        self.marks.0 |= Marks::DOUBTED;
        before
    }

    pub(crate) const fn copies(&self) -> u16 {
        self.copies
    }

    /// The copy that has this word, and its age in copies, if it was sent.
    fn copy_named(&self, word: Word) -> Option<(u16, u16)> {
        let age = u16::try_from(self.word.copies_since(word)).ok()?;
        let before = self.copies.checked_sub(age)?;
        before.checked_sub(1).map(|copy| (copy, age))
    }

    /// The bit of [`Frame::answered`] for a copy.
    const fn bit(copy: u16) -> u16 {
        1 << (copy as u32 % COPIES as u32)
    }

    /// When the newest copy was handed to its interface; `last_sent` of a ghost may be later.
    pub(crate) fn handed_over(&self) -> Instant {
        if self.state == FrameState::Ghost {
            self.first_sent
        } else {
            self.last_sent
        }
    }

    /// Every copy that was sent has been answered. Of more copies than can be told apart nobody knows.
    pub(crate) const fn is_answered(&self) -> bool {
        self.copies <= COPIES && self.answered as u32 == (1 << self.copies) - 1
    }

    /// This copy was answered.
    pub(crate) const fn note_answered(&mut self, copy: u16) {
        self.answered |= Self::bit(copy);
    }

    /// One more copy leaves by `path`.
    pub(crate) fn note_sent(&mut self, now: Instant, path: u8, seq: u64) {
        if !self.was_sent() {
            self.first_sent = now;
        }
        if self.copies != 0 {
            self.note_sent_before();
        }
        self.copies = self.copies.saturating_add(1);
        self.path = path;
        self.paths_used |= 1 << path;
        self.seq = seq;
        self.last_sent = now;
        self.state = FrameState::InFlight;
    }

    #[cold]
    const fn note_sent_before(&mut self) {
        self.word = self.word.next_copy();
        if self.copies >= COPIES {
            // The bit stood for an older one before.
            self.answered &= !Self::bit(self.copies);
        }
    }

    /// The tag of the copy that was just noted as sent, the frame being in slot `slot`.
    pub(crate) const fn tag(&self, slot: u16) -> u32 {
        self.word.tag(slot)
    }

    /// Whether any of the frame's sectors is among `sectors` from `lba` on.
    pub(crate) const fn overlaps(&self, lba: u64, sectors: u64) -> bool {
        self.lba < lba.saturating_add(sectors) && lba < self.lba.saturating_add(self.sectors as u64)
    }
}

/// A doubly linked list of frames, the links being in the frames.
#[derive(Copy, Clone, Debug)]
pub(crate) struct List {
    head: u16,
    tail: u16,
}

impl List {
    pub(crate) const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
    };

    pub(crate) const fn is_empty(&self) -> bool {
        self.head == NIL
    }

    pub(crate) const fn head(&self) -> Option<u16> {
        if self.head == NIL {
            None
        } else {
            Some(self.head)
        }
    }
}

/// What an answer's tag led to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answered {
    pub(crate) index: u16,
    /// The copy's number, counted from 0.
    pub(crate) copy: u16,
    /// It was the newest copy.
    pub(crate) newest: bool,
    /// It was in flight: no other copy had been answered, or taken for lost.
    pub(crate) flew: bool,
    /// The path that the newest copy went by.
    pub(crate) path: u8,
}

/// The table over lent slots.
#[derive(Debug)]
pub(crate) struct Frames<'s> {
    slots: &'s mut [Frame],
    free: List,
    free_count: u16,
    /// Stands in for a slot that does not exist, so that a broken index damages nothing.
    scratch: Frame,
    broken: bool,
}

impl<'s> Frames<'s> {
    /// A table without slots.
    pub(crate) fn unlent() -> Self {
        Self {
            slots: &mut [],
            free: List::EMPTY,
            free_count: 0,
            scratch: Frame::EMPTY,
            broken: false,
        }
    }

    pub(crate) fn lend(&mut self, slots: &'s mut [Frame], tags: &mut Tags) {
        self.slots = slots;
        self.free = List::EMPTY;
        self.free_count = 0;
        for index in self.indices() {
            *self.at(index) = Frame {
                word: tags.slot(),
                ..Frame::EMPTY
            };
            self.release(index);
        }
    }

    pub(crate) fn reclaim(self) -> &'s mut [Frame] {
        self.slots
    }

    /// No frame is in use: neither in flight, nor waiting, nor a ghost.
    pub(crate) fn is_unused(&self) -> bool {
        usize::from(self.free_count) == self.slots.len().min(MAX_FRAMES)
    }

    /// Gives the slots back while none is in use. The words of slots that are lent later begin anew at random.
    pub(crate) fn take_back(&mut self) -> &'s mut [Frame] {
        self.free = List::EMPTY;
        self.free_count = 0;
        core::mem::take(&mut self.slots)
    }

    pub(crate) const fn free_count(&self) -> u16 {
        self.free_count
    }

    /// An index led nowhere: the engine's own books are wrong.
    pub(crate) const fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn get(&self, index: u16) -> &Frame {
        self.slots.get(usize::from(index)).unwrap_or(&self.scratch)
    }

    pub(crate) fn at(&mut self, index: u16) -> &mut Frame {
        match self.slots.get_mut(usize::from(index)) {
            Some(frame) => frame,
            None => {
                self.broken = true;
                &mut self.scratch
            }
        }
    }

    /// Takes the slot that has been free for longest, so that a tag comes back as late as possible.
    pub(crate) fn allocate(&mut self, tags: &mut Tags) -> Option<(u16, &mut Frame)> {
        let index = self.free.head()?;
        let Some(frame) = self.slots.get_mut(usize::from(index)) else {
            self.broken = true;
            return None;
        };
        self.free_count -= 1;
        self.free.head = frame.next;
        if frame.next == NIL {
            self.free.tail = NIL;
        }
        *frame = Frame {
            word: tags.frame(frame.word),
            ..Frame::EMPTY
        };
        Some((index, frame))
    }

    /// Gives back a slot that is in no list. Free slots are taken from the front of their list only, so
    /// they are linked in one direction. What is in the slot stays readable until it is taken again.
    pub(crate) fn release(&mut self, index: u16) -> &Frame {
        self.free_count += 1;
        let tail = core::mem::replace(&mut self.free.tail, index);
        if tail == NIL {
            self.free.head = index;
        } else {
            self.at(tail).next = index;
        }
        let frame = self.at(index);
        frame.state = FrameState::Free;
        frame.next = NIL;
        frame
    }

    pub(crate) fn push_back(&mut self, list: &mut List, index: u16) -> &mut Frame {
        let tail = core::mem::replace(&mut list.tail, index);
        if tail == NIL {
            list.head = index;
        } else {
            self.at(tail).next = index;
        }
        let frame = self.at(index);
        frame.prev = tail;
        frame.next = NIL;
        frame
    }

    /// Puts a frame first: it was first before and comes back.
    pub(crate) fn push_front(&mut self, list: &mut List, index: u16) {
        let head = core::mem::replace(&mut list.head, index);
        if head == NIL {
            list.tail = index;
        } else {
            self.at(head).prev = index;
        }
        let frame = self.at(index);
        frame.prev = NIL;
        frame.next = head;
    }

    /// Takes a frame out of its list. Its links stay as they are, and mean nothing.
    pub(crate) fn remove(&mut self, list: &mut List, index: u16) -> &mut Frame {
        let Frame { prev, next, .. } = *self.get(index);
        if prev == NIL {
            list.head = next;
        } else {
            self.at(prev).next = next;
        }
        if next == NIL {
            list.tail = prev;
        } else {
            self.at(next).prev = prev;
        }
        self.at(index)
    }

    /// The frame after this one in its list.
    pub(crate) fn after(&self, index: u16) -> Option<u16> {
        let next = self.get(index).next;
        if next == NIL { None } else { Some(next) }
    }

    /// The indices of all slots.
    pub(crate) fn indices(&self) -> core::ops::Range<u16> {
        0..self.slots.len().min(MAX_FRAMES) as u16
    }

    /// Finds the frame and copy that a tag names, changing nothing.
    pub(crate) fn find(&self, tag: Tag) -> Option<(Answered, &Frame)> {
        let frame = self.slots.get(usize::from(tag.slot))?;
        if frame.state == FrameState::Free {
            return None;
        }
        let (copy, age) = frame.copy_named(tag.word)?;
        if frame.answered & Frame::bit(copy) != 0 {
            return None;
        }
        let answered = Answered {
            index: tag.slot,
            copy,
            newest: age == 0,
            flew: frame.state == FrameState::InFlight,
            path: frame.path,
        };
        Some((answered, frame))
    }

    /// Writes down that the copy was answered.
    pub(crate) fn note_answered(&mut self, answered: Answered) -> &mut Frame {
        let frame = self.at(answered.index);
        frame.note_answered(answered.copy);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn tags() -> Tags {
        Tags::new(0x1234_5678_9ABC_DEF0)
    }

    fn allocate<'a>(frames: &'a mut Frames<'_>, tags: &mut Tags) -> Option<(u16, &'a mut Frame)> {
        tags.prepare();
        frames.allocate(tags)
    }

    #[test]
    fn a_slot_rests_as_long_as_possible() {
        let mut slots = vec![Frame::EMPTY; 4];
        let (mut frames, mut tags) = (Frames::unlent(), tags());
        frames.lend(&mut slots, &mut tags);
        let first = allocate(&mut frames, &mut tags);
        assert_eq!(first.map(|(index, _)| index), Some(0));
        frames.release(0);
        let order: Vec<_> =
            core::iter::from_fn(|| allocate(&mut frames, &mut tags).map(|(index, _)| index))
                .collect();
        assert_eq!(order, [1, 2, 3, 0]);
        assert_eq!(frames.free_count(), 0);
        assert!(!frames.is_broken());
    }

    #[test]
    fn every_copy_has_a_tag_and_each_counts_once() {
        let mut slots = vec![Frame::EMPTY; 2];
        let (mut frames, mut tags) = (Frames::unlent(), tags());
        frames.lend(&mut slots, &mut tags);
        let (index, _) = allocate(&mut frames, &mut tags).unwrap();
        let mut sent = Vec::new();
        for n in 0..3 {
            frames.at(index).note_sent(Instant::from_nanos(n), 0, n);
            sent.push(frames.get(index).tag(index));
        }
        assert!(
            sent.iter()
                .enumerate()
                .all(|(i, tag)| !sent[..i].contains(tag))
        );
        for (n, &tag) in sent.iter().enumerate() {
            let (found, _) = frames.find(Tag::parse(tag).unwrap()).unwrap();
            assert_eq!((found.copy, found.newest), (n as u16, n == 2));
            frames.note_answered(found);
            assert!(
                frames.find(Tag::parse(tag).unwrap()).is_none(),
                "a duplicate counts once"
            );
        }
        assert!(frames.get(index).is_answered());
    }

    #[test]
    fn a_copy_that_was_never_sent_or_an_old_generation_is_not_found() {
        let mut slots = vec![Frame::EMPTY; 1];
        let (mut frames, mut tags) = (Frames::unlent(), tags());
        frames.lend(&mut slots, &mut tags);
        let (index, _) = allocate(&mut frames, &mut tags).unwrap();
        frames.at(index).note_sent(Instant::default(), 0, 1);
        let tag = Tag::parse(frames.get(index).tag(index)).unwrap();
        let later = Tag {
            word: tag.word.next_copy(),
            ..tag
        };
        assert!(frames.find(later).is_none());
        assert!(frames.find(Tag { slot: 200, ..tag }).is_none());
        frames.release(index);
        assert!(frames.find(tag).is_none());
        allocate(&mut frames, &mut tags).unwrap();
        frames.at(index).note_sent(Instant::default(), 0, 2);
        assert!(frames.find(tag).is_none());
    }

    #[test]
    fn an_answer_from_before_the_memory_was_taken_back_finds_nothing() {
        let mut slots = vec![Frame::EMPTY; 3];
        let (mut frames, mut tags) = (Frames::unlent(), tags());
        let mut old = Vec::new();
        let mut lent: &mut [Frame] = &mut slots;
        for round in 0..5 {
            frames.lend(lent, &mut tags);
            assert!(frames.is_unused());
            let mut taken = Vec::new();
            for _ in 0..2 + round {
                let (index, frame) = allocate(&mut frames, &mut tags).unwrap();
                frame.note_sent(Instant::default(), 0, 1);
                let tag = Tag::parse(frame.tag(index)).unwrap();
                assert!(old.iter().all(|&old| frames.find(old).is_none()));
                taken.push(tag);
                frames.release(index);
            }
            old.append(&mut taken);
            assert!(frames.is_unused());
            lent = frames.take_back();
            assert_eq!(lent.len(), 3);
            assert!(allocate(&mut frames, &mut tags).is_none());
        }
        assert!(!frames.is_broken());
    }

    #[test]
    fn more_copies_than_can_be_told_apart_are_never_all_answered() {
        let mut slots = vec![Frame::EMPTY; 1];
        let (mut frames, mut tags) = (Frames::unlent(), tags());
        frames.lend(&mut slots, &mut tags);
        let (index, _) = allocate(&mut frames, &mut tags).unwrap();
        for n in 0..17 {
            frames.at(index).note_sent(Instant::default(), 0, n);
            let tag = Tag::parse(frames.get(index).tag(index)).unwrap();
            let (found, _) = frames.find(tag).unwrap();
            frames.note_answered(found);
        }
        assert!(!frames.get(index).is_answered());
    }

    #[test]
    fn an_answer_to_a_copy_that_many_followed_still_finds_its_frame() {
        let mut slots = vec![Frame::EMPTY; 1];
        let (mut frames, mut tags) = (Frames::unlent(), tags());
        frames.lend(&mut slots, &mut tags);
        let (index, _) = allocate(&mut frames, &mut tags).unwrap();
        let mut sent = Vec::new();
        for n in 0..300 {
            frames.at(index).note_sent(Instant::default(), 0, n);
            sent.push(Tag::parse(frames.get(index).tag(index)).unwrap());
        }
        for (n, &tag) in sent.iter().enumerate() {
            let (found, _) = frames.find(tag).unwrap();
            assert_eq!((found.copy, found.newest), (n as u16, n == 299));
        }
    }

    #[test]
    fn an_index_without_slot_breaks_the_books_and_nothing_else() {
        let mut slots = vec![Frame::EMPTY; 1];
        let (mut frames, mut tags) = (Frames::unlent(), tags());
        frames.lend(&mut slots, &mut tags);
        frames.at(7).offset = 1;
        assert!(frames.is_broken());
        assert_eq!(frames.get(0).offset, 0);
    }
}
