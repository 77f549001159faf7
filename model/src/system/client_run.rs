//! The ids of a client process in its runs, and the addresses that derive from them.

use crate::{Address, ClientId, Message};

/// The difference between the ids of a client process in two runs, for each operation invoked between
/// them. It is greater than the number of every client process.
const RUN_STRIDE: u64 = 10;

/// The id of a client process in the run that starts after this many operations were invoked.
pub(super) fn id(number: ClientId, invoked_before: u64) -> ClientId {
    ClientId::new(number.get() + RUN_STRIDE * invoked_before)
}

/// Whether two ids belong to runs of one client process, the first to an earlier run.
pub(super) fn is_earlier_run(earlier: ClientId, later: ClientId) -> bool {
    earlier < later && earlier.get() % RUN_STRIDE == later.get() % RUN_STRIDE
}

/// The address of the process that a message with this address is from or to. A client process has
/// an address of its own in each of its runs.
pub fn process_address(address: Address) -> Address {
    match address {
        Address::Client(id) => Address::Client(ClientId::new(id.get() % RUN_STRIDE)),
        other => other,
    }
}

/// The address from which, or to which, a message was sent, if `process` is the address of the
/// process. The inverse of [`process_address`] for the messages of client processes, which contain the
/// id of the client.
pub fn message_address(process: Address, message: &Message) -> Address {
    match (process, message) {
        (Address::Client(_), Message::ClientRequest(request)) => Address::Client(request.client),
        (Address::Client(_), Message::ClientResponse(response)) => Address::Client(response.client),
        _ => process,
    }
}
