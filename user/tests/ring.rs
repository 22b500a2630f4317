// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ring: what it does in order, what it does in every order, and what it does when it is lied to.
//!
//! The models run the ring's own code with atomics by loom, which tries every interleaving of two threads up
//! to a number of preemptions, and every value that a load may return by the memory model of C11. They
//! are small: what they show is that messages arrive whole and in order, and that nobody sleeps for ever.
//! loom finds the second as a deadlock.

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

impl Words for Memory {
    fn load(&self, at: usize, order: Ordering) -> u64 {
        self.0[at].load(order)
    }

    fn store(&self, at: usize, value: u64, order: Ordering) {
        self.0[at].store(value, order);
    }

    fn fence(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
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
fn a_message_stays_for_who_brings_too_little_room() {
    let memory = Memory::new(32);
    let mut producer = Producer::new(&memory, LAYOUT);
    let mut consumer = Consumer::new(&memory, LAYOUT);
    producer.push(b"hello").unwrap();
    assert_eq!(consumer.pop(&mut [0; 4]), Err(Error::TooLong));
    assert_eq!(pop(&mut consumer), Ok(b"hello".to_vec()));
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
        assert_eq!(producer.push(b"x"), Err(Error::Broken), "{lie:#x}");
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
            let (at, kind, value) = (random() % 32, random() % 3, random());
            let value = if kind == 0 { value } else { value % 24 };
            memory.store(usize::try_from(at).unwrap(), value, Ordering::Relaxed);
            // An index beyond the memory would be a panic.
            let pushed = producer.push(&[7; 13]);
            let popped = pop(&mut consumer);
            broken += usize::from(pushed == Err(Error::Broken) || popped == Err(Error::Broken));
        }
    }
    assert!(broken > 1000, "{broken}");
}

mod models {
    use std::sync::atomic::Ordering;

    use callgate::ring::{Consumer, Error, Layout, Producer, Words};

    use super::echo::Echo;
    use loom::sync::atomic::{AtomicU64, fence};
    use loom::sync::{Arc, Notify};

    /// Where the messages of both rings are.
    const DATA: usize = 2 * Layout::CONTROL;

    /// Room for two messages of a word each, so that the third wraps and finds the ring full.
    const LAYOUT: Layout = Layout::new(0, DATA, 4, 8);

    /// A second ring of that kind, for the way back.
    const BACK: Layout = Layout::new(Layout::CONTROL, DATA + 4, 4, 8);

    /// Only the words that are used: each is expensive.
    struct Memory(Vec<(usize, AtomicU64)>);

    impl Memory {
        fn new() -> Self {
            let control = |ring: usize| [0, 1, 8, 9].map(|word| ring * Layout::CONTROL + word);
            let used = control(0)
                .into_iter()
                .chain(control(1))
                .chain(DATA..DATA + 8);
            Self(used.map(|at| (at, AtomicU64::new(0))).collect())
        }

        fn word(&self, at: usize) -> &AtomicU64 {
            &self
                .0
                .iter()
                .find(|(word, _)| *word == at)
                .expect("a word of the ring")
                .1
        }
    }

    /// What both threads have: the memory, and a bell for each.
    struct Shared {
        memory: Memory,
        consumer: Notify,
        producer: Notify,
    }

    #[derive(Clone)]
    struct Line(Arc<Shared>);

    impl Line {
        fn new() -> Self {
            Self(Arc::new(Shared {
                memory: Memory::new(),
                consumer: Notify::new(),
                producer: Notify::new(),
            }))
        }
    }

    impl Words for Line {
        fn load(&self, at: usize, order: Ordering) -> u64 {
            self.0.memory.word(at).load(order)
        }

        fn store(&self, at: usize, value: u64, order: Ordering) {
            self.0.memory.word(at).store(value, order);
        }

        fn fence(&self) {
            fence(Ordering::SeqCst);
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
