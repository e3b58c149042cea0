//! verify SECRET ID TIMESTAMP SIGNATURE < BODY: exit code 0 where the stock library takes the delivery, 1 where it does not.
use std::{env, io, io::Read, process};

use http::HeaderMap;
use standardwebhooks::{Webhook, HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};

fn main() {
    let [secret, id, timestamp, signature] = env::args().skip(1).collect::<Vec<_>>().try_into().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_WEBHOOK_ID, id.parse().unwrap());
    headers.insert(HEADER_WEBHOOK_TIMESTAMP, timestamp.parse().unwrap());
    headers.insert(HEADER_WEBHOOK_SIGNATURE, signature.parse().unwrap());
    let mut body = Vec::new();
    io::stdin().read_to_end(&mut body).unwrap();
    if let Err(why) = Webhook::new(&secret).unwrap().verify(&body, &headers) {
        println!("{why}");
        process::exit(1);
    }
}
