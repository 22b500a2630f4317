// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ring: what it does in order, what it does in every order, and what it does when it is lied to.
//!
//! The models run the ring's own code with atomics by loom, which tries every interleaving of two threads up
//! to a number of preemptions, and every value that a load may return by the memory model of C11. They
//! are small: what they show is that messages arrive whole and in order, and that nobody sleeps for ever.
//! loom finds the second as a deadlock.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use callgate::ring::{self, Consumer, Error, Layout, Producer, Words};

#[path = "../../gates/mmap/echo.rs"]
mod echo;

/// Memory of this process alone.
struct Memory(Vec<AtomicU64>);

impl Memory {
    fn new(words: usize) -> Self {
        Self((0..words).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Deref for Memory {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        &self.0
    }
}

/// Room for 16 words of messages, of at most 40 bytes each.
const LAYOUT: Layout = Layout::new(0, Layout::CONTROL, 16, 40);

/// Where the words of `LAYOUT` are that the sides write.
const HEAD: usize = 0;
const TAIL: usize = 8;

fn pop(consumer: &mut Consumer<&Memory>) -> Result<Vec<u8>, Error> {
    let mut buffer = [0xee; 40];
    consumer.pop(&mut buffer).map(|len| buffer[..len].to_vec())
}

#[test]
fn messages_come_out_as_they_went_in_wherever_the_ring_wraps() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    for round in 0..200_u8 {
        let message: Vec<u8> = (round..round + round % 41).collect();
        producer.push(&message).unwrap();
        assert_eq!(pop(&mut consumer), Ok(message));
        assert_eq!(pop(&mut consumer), Err(Error::Empty));
    }
}

#[test]
fn a_message_goes_in_whole_or_not_at_all() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    assert_eq!(producer.push(&[0; 41]), Err(Error::TooLong));
    for _ in 0..5 {
        // Three words each; the sixth finds one.
        producer.push(&[7; 16]).unwrap();
    }
    assert_eq!(producer.has_room(), Ok(false));
    assert_eq!(producer.push(&[8; 16]), Err(Error::Full));
    assert_eq!(producer.push(&[8; 1]), Err(Error::Full));
    assert_eq!(producer.push(&[]), Ok(()), "an empty one takes one word");
    assert_eq!(producer.waiting(), Ok(16));
    for _ in 0..5 {
        assert_eq!(pop(&mut consumer), Ok(vec![7; 16]));
    }
    assert_eq!(pop(&mut consumer), Ok(vec![]));
    assert_eq!(consumer.has_room(), Ok(true));
    assert_eq!(producer.has_room(), Ok(true));
}

#[test]
fn a_message_is_in_one_piece_wherever_the_ring_wraps() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    for _ in 0..2 {
        producer.push(&[7; 40]).unwrap();
        pop(&mut consumer).unwrap();
    }
    // Four words are left, and six do not fit there: it is at the beginning.
    assert_eq!(producer.has_room(), Ok(true));
    producer.push(&[8; 40]).unwrap();
    assert_eq!(
        memory.load(Layout::CONTROL + 12, Ordering::Relaxed),
        u64::MAX
    );
    assert_eq!(memory.load(Layout::CONTROL, Ordering::Relaxed), 40);
    assert_eq!(consumer.waiting(), Ok(10), "with what was left out");
    assert_eq!(producer.has_room(), Ok(true), "six words for six");
    assert_eq!(consumer.has_room(), Ok(true));
    producer.push(&[9; 40]).unwrap();
    assert_eq!(pop(&mut consumer), Ok(vec![8; 40]));
    // Ten words are free, four of which do not count.
    assert_eq!(producer.has_room(), Ok(true));
    producer.push(&[]).unwrap();
    assert_eq!(
        producer.has_room(),
        Ok(true),
        "three are left out, six are used"
    );
    producer.push(&[10; 40]).unwrap();
    assert_eq!(producer.push(&[]), Err(Error::Full));
    for message in [vec![9; 40], vec![], vec![10; 40]] {
        assert_eq!(pop(&mut consumer), Ok(message));
    }
}

#[test]
fn a_batch_goes_in_and_comes_out_together() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    for round in 0..200_u8 {
        let mut batch = producer.batch();
        batch.push(&[round; 2]).unwrap();
        batch.push(&[round; 8]).unwrap();
        if round == 0 {
            assert_eq!(consumer.waiting(), Ok(0), "the consumer is not told yet");
        }
        drop(batch);
        let mut messages = consumer.drain();
        let message = messages.take().unwrap().unwrap();
        assert_eq!((message.len(), message.words::<1>()), (2, None));
        let mut buffer = [0xee; 9];
        let message = messages.take().unwrap().unwrap();
        let word = u64::from_ne_bytes([round; 8]);
        assert_eq!(
            (message.words(), message.words::<2>()),
            (Some([word]), None)
        );
        assert_eq!(message.copy_out(&mut buffer), 8);
        assert_eq!(
            buffer,
            [round, round, round, round, round, round, round, round, 0xee]
        );
        assert_eq!(message.copy_out(&mut buffer[..3]), 3);
        drop(messages);
        assert_eq!(producer.waiting(), Ok(0));
    }
}

/// Neither side waits for the other to end a batch that is longer than the ring.
#[test]
fn a_long_batch_is_told_of_in_parts() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    let mut batch = producer.batch();
    for message in 0..8 {
        batch.push(&[message; 8]).unwrap();
    }
    assert_eq!(batch.push(&[8; 8]), Err(Error::Full));
    assert_eq!(
        consumer.waiting(),
        Ok(16),
        "it is told at the latest when the ring is full"
    );
    let mut messages = consumer.drain();
    for message in 0..8 {
        assert_eq!(
            messages.take().unwrap().unwrap().words(),
            Some([u64::from_ne_bytes([message; 8])])
        );
    }
    assert_eq!(messages.take_words::<1>(), Ok(None));
    batch
        .push(&[8; 8])
        .expect("room that was given back before the end");
    drop((batch, messages));
    assert_eq!(pop(&mut consumer), Ok(vec![8; 8]));
}

#[test]
fn a_message_stays_for_who_brings_too_little_room() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    producer.push(b"hello").unwrap();
    assert_eq!(consumer.pop(&mut [0; 4]), Err(Error::TooLong));
    assert_eq!(pop(&mut consumer), Ok(b"hello".to_vec()));
}

#[test]
fn words_are_taken_of_who_has_so_many() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    for round in 0..200_u64 {
        let word = round.to_ne_bytes();
        producer.push(&[word, word].concat()).unwrap();
        producer.push(&word).unwrap();
        producer.push(&word[..7]).unwrap();
        let mut messages = consumer.drain();
        assert_eq!(messages.take_words::<1>(), Err(Error::TooLong));
        assert_eq!(messages.take_words::<3>(), Err(Error::TooLong));
        assert_eq!(messages.take_words(), Ok(Some([round, round])));
        assert_eq!(messages.take_words(), Ok(Some([round])));
        assert_eq!(messages.take_words::<1>(), Err(Error::TooLong));
        assert_eq!(messages.take().unwrap().unwrap().len(), 7);
        assert_eq!(messages.take_words::<0>(), Ok(None));
    }
}

#[test]
fn words_are_looked_at_where_they_are() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    for round in 0..200_u64 {
        let word = round.to_ne_bytes();
        producer.push(&[word, word].concat()).unwrap();
        producer.push(&word).unwrap();
        let mut messages = consumer.drain();
        assert!(matches!(messages.take_in_place::<1>(), Err(Error::TooLong)));
        let words = messages.take_in_place::<2>().unwrap().unwrap();
        let seen = words.each_ref().map(|word| word.load(Ordering::Relaxed));
        assert_eq!(seen, [round, round]);
        // What the other side changes meanwhile is seen.
        words[1].store(7, Ordering::Relaxed);
        assert_eq!(words[1].load(Ordering::Relaxed), 7);
        let words = messages.take_in_place::<1>().unwrap().unwrap();
        assert_eq!(words[0].load(Ordering::Relaxed), round);
        assert!(matches!(messages.take_in_place::<1>(), Ok(None)));
    }
}

#[test]
fn a_batch_that_ends_rings_for_who_sleeps() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    for sleeps in [false, true, false] {
        if sleeps {
            consumer.sleep();
        }
        let mut batch = producer.batch();
        batch.push(b"hello").unwrap();
        assert_eq!(batch.must_ring(), sleeps);
        assert!(!producer.must_ring(), "the flag is down");
        assert_eq!(pop(&mut consumer), Ok(b"hello".to_vec()));
    }
}

#[test]
fn room_is_back_when_nothing_is_left_to_take() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    let mut messages = consumer.drain();
    for round in 0..200_u64 {
        assert_eq!(messages.take_words::<1>(), Ok(None));
        producer.push(&round.to_ne_bytes()).unwrap();
        assert_eq!(messages.take_words(), Ok(Some([round])));
        assert_eq!(messages.take_words::<1>(), Ok(None));
        assert_eq!(producer.waiting(), Ok(0));
    }
}

#[test]
fn a_bell_is_rung_once_for_each_sleep() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let consumer = Consumer::new(&memory, LAYOUT);
    producer.push(b"x").unwrap();
    assert!(!producer.must_ring(), "nobody sleeps");
    consumer.sleep();
    consumer.stay_awake();
    assert!(!producer.must_ring(), "it did not sleep after all");
    consumer.sleep();
    assert!(producer.must_ring());
    assert!(!producer.must_ring(), "it was rung for this sleep");
    producer.sleep();
    assert!(consumer.must_ring());
    assert!(!consumer.must_ring());
    consumer.other_sleeps();
    assert!(consumer.must_ring());
    producer.other_sleeps();
    assert!(producer.must_ring());
}

/// Positions that the other side can only write to do harm.
fn nonsense(own: u64) -> [u64; 8] {
    [
        own.wrapping_sub(1),
        own + 17,
        own + (1 << 32),
        u64::from(u32::MAX),
        1 << 63,
        u64::MAX,
        u64::MAX - 15,
        0xaaaa_aaaa_aaaa_aaaa,
    ]
}

#[test]
fn a_producer_believes_no_impossible_position() {
    for lie in nonsense(6) {
        let memory = Memory::new(32);
        let mut producer = Producer::new(&memory, LAYOUT);
        let mut consumer = Consumer::new(&memory, LAYOUT);
        for _ in 0..2 {
            producer.push(&[7; 16]).unwrap();
            pop(&mut consumer).unwrap();
        }
        producer.push(&[7; 16]).unwrap();
        producer.push(&[7; 16]).unwrap();
        assert_eq!(producer.waiting(), Ok(6));
        memory.store(TAIL, lie, Ordering::Relaxed);
        // There is room that it knows of. Then it has to look.
        let refused = (0..8).find_map(|_| producer.push(&[7; 8]).err());
        assert_eq!(refused, Some(Error::Broken), "{lie:#x}");
        memory.store(TAIL, 6, Ordering::Relaxed);
        assert_eq!(producer.push(b"x"), Err(Error::Broken), "it stays broken");
        assert_eq!(producer.has_room(), Err(Error::Broken));
    }
}

#[test]
fn a_consumer_believes_no_impossible_position() {
    for lie in nonsense(6) {
        let memory = Memory::new(32);
        let mut producer = Producer::new(&memory, LAYOUT);
        let mut consumer = Consumer::new(&memory, LAYOUT);
        for _ in 0..2 {
            producer.push(&[7; 16]).unwrap();
            pop(&mut consumer).unwrap();
        }
        memory.store(HEAD, lie, Ordering::Relaxed);
        assert_eq!(pop(&mut consumer), Err(Error::Broken), "{lie:#x}");
        memory.store(HEAD, 6, Ordering::Relaxed);
        assert_eq!(pop(&mut consumer), Err(Error::Broken), "it stays broken");
        assert_eq!(consumer.has_room(), Err(Error::Broken));
    }
}

#[test]
fn a_position_does_not_go_back() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    producer.push(&[7; 16]).unwrap();
    producer.push(&[7; 16]).unwrap();
    pop(&mut consumer).unwrap();
    assert_eq!(producer.waiting(), Ok(3));
    memory.store(HEAD, 3, Ordering::Relaxed);
    assert_eq!(consumer.waiting(), Err(Error::Broken));
    memory.store(TAIL, 0, Ordering::Relaxed);
    assert_eq!(producer.waiting(), Err(Error::Broken));
}

#[test]
fn a_consumer_believes_no_impossible_length() {
    for lie in [17, 40, 41, 1 << 32, 1 << 63, u64::MAX] {
        let memory = Memory::new(32);
        let mut producer = Producer::new(&memory, LAYOUT);
        let mut consumer = Consumer::new(&memory, LAYOUT);
        producer.push(&[7; 16]).unwrap();
        memory.store(Layout::CONTROL, lie, Ordering::Relaxed);
        assert_eq!(pop(&mut consumer), Err(Error::Broken), "{lie}");
    }
}

#[test]
fn a_consumer_believes_no_impossible_gap() {
    // All of the ring is left out; or more than there is.
    for (at, head) in [(0, 16), (0, 3), (3, 4)] {
        let memory = Memory::new(32);
        let mut consumer = Consumer::new(&memory, LAYOUT);
        let mut producer = Producer::new(&memory, LAYOUT);
        for _ in 0..at / 3 {
            producer.push(&[7; 16]).unwrap();
            pop(&mut consumer).unwrap();
        }
        memory.store(Layout::CONTROL + at, u64::MAX, Ordering::Relaxed);
        memory.store(HEAD, head, Ordering::Relaxed);
        assert_eq!(pop(&mut consumer), Err(Error::Broken), "{at}, {head}");
    }
}

#[test]
fn whatever_is_in_the_memory_nothing_else_is_touched() {
    // Numbers as if at random, by Marsaglia's xorshift; each word is one of them, or close to the truth.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut broken = 0;
    for _ in 0..20_000 {
        let memory = Memory::new(32);
        let mut producer = Producer::new(&memory, LAYOUT);
        let mut consumer = Consumer::new(&memory, LAYOUT);
        for _ in 0..8 {
            let (at, kind, value) = (random() % 32, random() % 4, random());
            let value = match kind {
                0 => value,
                1 => u64::MAX,
                _ => value % 24,
            };
            memory.store(usize::try_from(at).unwrap(), value, Ordering::Relaxed);
            // An index beyond the memory would be a panic.
            let pushed = producer.push(&[7; 13]);
            let _ = (producer.waiting(), producer.has_room());
            let popped = pop(&mut consumer);
            let _ = (consumer.waiting(), consumer.has_room());
            broken += usize::from(pushed == Err(Error::Broken) || popped == Err(Error::Broken));
        }
    }
    assert!(broken > 1000, "{broken}");
}

mod models {
    use std::ops::Deref;
    use std::sync::atomic::Ordering;

    use callgate::ring::{Consumer, Error, Layout, Producer, Word};

    use super::echo::Echo;
    use loom::sync::atomic::{AtomicU64, fence};
    use loom::sync::{Arc, Notify};

    /// Where the messages of both rings are.
    const DATA: usize = 2 * Layout::CONTROL;

    /// Room for two messages of a word each, so that the third wraps and finds the ring full.
    const LAYOUT: Layout = Layout::new(0, DATA, 4, 8);

    /// A second ring of that kind, for the way back.
    const BACK: Layout = Layout::new(Layout::CONTROL, DATA + 4, 4, 8);

    /// A word; those that no ring uses are left out, as each is expensive.
    struct Cell(Option<AtomicU64>);

    impl Word for Cell {
        fn load(&self, order: Ordering) -> u64 {
            self.0.as_ref().expect("a word of the ring").load(order)
        }

        fn store(&self, value: u64, order: Ordering) {
            let word = self.0.as_ref().expect("a word of the ring");
            word.store(value, order);
        }

        fn fence() {
            fence(Ordering::SeqCst);
        }
    }

    fn memory() -> Vec<Cell> {
        let used = |at: usize| at >= DATA || [0, 1, 8, 9].contains(&(at % Layout::CONTROL));
        let cell = |at| Cell(used(at).then(|| AtomicU64::new(0)));
        (0..DATA + 8).map(cell).collect()
    }

    /// What both threads have: the memory, and a bell for each.
    struct Shared {
        memory: Vec<Cell>,
        consumer: Notify,
        producer: Notify,
    }

    #[derive(Clone)]
    struct Line(Arc<Shared>);

    impl Line {
        fn new() -> Self {
            Self(Arc::new(Shared {
                memory: memory(),
                consumer: Notify::new(),
                producer: Notify::new(),
            }))
        }
    }

    impl Deref for Line {
        type Target = [Cell];

        fn deref(&self) -> &[Cell] {
            &self.0.memory
        }
    }

    fn check(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    fn send(line: &Line, producer: &mut Producer<Line>, message: &[u8]) {
        loop {
            match producer.push(message) {
                Ok(()) => break,
                Err(Error::Full) => {}
                Err(error) => panic!("{error:?}"),
            }
            producer.sleep();
            match producer.push(message) {
                Ok(()) => {
                    producer.stay_awake();
                    break;
                }
                Err(Error::Full) => line.0.producer.wait(),
                Err(error) => panic!("{error:?}"),
            }
        }
        if producer.must_ring() {
            line.0.consumer.notify();
        }
    }

    fn receive(line: &Line, consumer: &mut Consumer<Line>) -> Vec<u8> {
        receive_by(&line.0.consumer, &line.0.producer, consumer)
    }

    /// Of the way back: there the bells are the other way round.
    fn collect(line: &Line, consumer: &mut Consumer<Line>) -> Vec<u8> {
        receive_by(&line.0.producer, &line.0.consumer, consumer)
    }

    fn receive_by(own: &Notify, other: &Notify, consumer: &mut Consumer<Line>) -> Vec<u8> {
        let mut buffer = [0xee; 8];
        let len = loop {
            match consumer.pop(&mut buffer) {
                Ok(len) => break len,
                Err(Error::Empty) => {}
                Err(error) => panic!("{error:?}"),
            }
            consumer.sleep();
            match consumer.pop(&mut buffer) {
                Ok(len) => {
                    consumer.stay_awake();
                    break len;
                }
                Err(Error::Empty) => own.wait(),
                Err(error) => panic!("{error:?}"),
            }
        };
        if consumer.must_ring() {
            other.notify();
        }
        buffer[..len].to_vec()
    }

    fn exchange(messages: u8) {
        check(move || {
            let line = Line::new();
            let far = line.clone();
            let other = loom::thread::spawn(move || {
                let mut producer = Producer::new(far.clone(), LAYOUT);
                for message in 1..=messages {
                    send(&far, &mut producer, &[message; 5]);
                }
            });
            let mut consumer = Consumer::new(line.clone(), LAYOUT);
            for message in 1..=messages {
                assert_eq!(receive(&line, &mut consumer), [message; 5]);
            }
            other.join().unwrap();
        });
    }

    #[test]
    fn one_message_arrives_whole_and_wakes_who_waits() {
        exchange(1);
    }

    /// Two in one batch, for which there is one question whether to ring; and both taken out by one.
    #[test]
    fn a_batch_wakes_who_waits() {
        check(|| {
            let line = Line::new();
            let far = line.clone();
            let other = loom::thread::spawn(move || {
                let mut producer = Producer::new(far.clone(), LAYOUT);
                let mut batch = producer.batch();
                batch.push(&[1; 5]).unwrap();
                batch.push(&[2; 5]).unwrap();
                drop(batch);
                if producer.must_ring() {
                    far.0.consumer.notify();
                }
            });
            let mut consumer = Consumer::new(line.clone(), LAYOUT);
            let mut taken = Vec::new();
            let take = |consumer: &mut Consumer<Line>, taken: &mut Vec<[u8; 5]>| {
                let mut messages = consumer.drain();
                while let Some(message) = messages.take().unwrap() {
                    let mut bytes = [0; 5];
                    assert_eq!(message.copy_out(&mut bytes), 5);
                    taken.push(bytes);
                }
                taken.len() == 2
            };
            while !take(&mut consumer, &mut taken) {
                consumer.sleep();
                if take(&mut consumer, &mut taken) {
                    break;
                }
                line.0.consumer.wait();
            }
            assert_eq!(taken, [[1; 5], [2; 5]]);
            other.join().unwrap();
        });
    }

    /// The second message does not fit before the end, so a word is left out; and there is no room for it until
    /// the first has gone.
    #[test]
    fn a_message_that_is_moved_to_the_beginning_arrives() {
        check(|| {
            let line = Line::new();
            let mut producer = Producer::new(line.clone(), LAYOUT);
            let mut consumer = Consumer::new(line.clone(), LAYOUT);
            producer.push(&[]).unwrap();
            assert_eq!(receive(&line, &mut consumer), []);
            let far = line.clone();
            let other = loom::thread::spawn(move || {
                send(&far, &mut producer, &[1; 5]);
                send(&far, &mut producer, &[2; 5]);
            });
            for message in 1..=2 {
                assert_eq!(receive(&line, &mut consumer), [message; 5]);
            }
            other.join().unwrap();
        });
    }

    /// The third message has no room until the first has gone: so both sides sleep, and the ring wraps.
    #[test]
    fn three_messages_arrive_in_order_through_a_ring_of_two() {
        exchange(3);
    }

    /// As the kernel does it in poll(2): the side that is awake says for the other that it sleeps. All that
    /// the poller knows is what this call finds.
    #[test]
    fn a_side_that_is_put_to_sleep_by_the_other_is_woken() {
        use loom::sync::Mutex;

        check(|| {
            let line = Line::new();
            let producer = Arc::new(Mutex::new(Producer::new(line.clone(), LAYOUT)));
            let (far, far_line) = (producer.clone(), line.clone());
            let worker = loom::thread::spawn(move || {
                let mut producer = far.lock().unwrap();
                producer.push(b"hello").unwrap();
                if producer.must_ring() {
                    far_line.0.consumer.notify();
                }
            });
            let mut consumer = Consumer::new(line.clone(), LAYOUT);
            let mut buffer = [0; 8];
            loop {
                if let Ok(len) = consumer.pop(&mut buffer) {
                    assert_eq!(&buffer[..len], b"hello");
                    break;
                }
                let waiting = {
                    let mut producer = producer.lock().unwrap();
                    producer.other_sleeps();
                    producer.waiting().unwrap()
                };
                if waiting == 0 {
                    line.0.consumer.wait();
                }
            }
            worker.join().unwrap();
        });
    }

    /// As the module does it, which waits for messages and for room. The way back is full, and he who has not
    /// collected anything sends once more: that message finds no room, and must not be forgotten.
    #[test]
    fn who_waits_for_two_things_is_woken_for_both() {
        check(|| {
            let line = Line::new();
            let mut producer = Producer::new(line.clone(), LAYOUT);
            let mut echo = Echo::new(
                Consumer::new(line.clone(), LAYOUT),
                Producer::new(line.clone(), BACK),
                vec![0; 8],
            );
            for message in 1..=2 {
                producer.push(&[message]).unwrap();
                // It slept at first, and does not now.
                assert_eq!(producer.must_ring(), message == 1);
                assert_eq!(echo.step(), Ok(true));
            }
            let far = line.clone();
            let worker = loom::thread::spawn(move || {
                loop {
                    let more = echo.step().unwrap();
                    if echo.incoming.must_ring() | echo.outgoing.must_ring() {
                        far.0.producer.notify();
                    }
                    if more {
                        break;
                    }
                    far.0.consumer.wait();
                }
            });
            send(&line, &mut producer, &[3]);
            let mut consumer = Consumer::new(line.clone(), BACK);
            for message in 1..=3 {
                assert_eq!(collect(&line, &mut consumer), [message]);
            }
            worker.join().unwrap();
        });
    }
}
