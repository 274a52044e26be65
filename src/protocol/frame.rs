//! Frames: a 4-byte big-endian length, then that many bytes of JSON. Size-limited both ways.

use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// Largest frame either side accepts. A play with its files inline stays far below; large files go in chunks.
pub const FRAME_LIMIT: u32 = 64 << 20;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed the connection between frames.
    #[error("the connection was closed")]
    Closed,
    /// Reading or writing failed.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The other side announced a frame over the limit: not one of ours.
    #[error("a message of {0} bytes is over the limit of {FRAME_LIMIT}")]
    TooLarge(u32),
    /// The frame's content is not a message.
    #[error("a message could not be read: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Writes one message and flushes.
pub fn write_frame<T: Serialize>(to: &mut impl Write, message: &T) -> Result<(), FrameError> {
    to.write_all(&encode(message)?)?;
    to.flush()?;
    Ok(())
}

/// One message as bytes on the wire.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0u8; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
    if length > FRAME_LIMIT {
        return Err(FrameError::TooLarge(length));
    }
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// Reads one message, waiting for it.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> Result<T, FrameError> {
    let mut length = [0u8; 4];
    let mut got = 0;
    while got < 4 {
        match from.read(&mut length[got..]) {
            Ok(0) if got == 0 => return Err(FrameError::Closed),
            Ok(0) => return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(FrameError::Io(e)),
        }
    }
    let length = u32::from_be_bytes(length);
    if length > FRAME_LIMIT {
        return Err(FrameError::TooLarge(length));
    }
    let mut bytes = vec![0u8; length as usize];
    from.read_exact(&mut bytes)?;
    parse(&bytes)
}

/// A frame's content. By way of a tree: the messages' types are then read from one thing only, which keeps the agent small.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    Ok(serde_json::from_value(serde_json::from_slice(bytes)?)?)
}

/// Takes one whole message off the front of `buffer`, for readers that cannot wait.
pub fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> Result<Option<T>, FrameError> {
    let Some(header) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*header);
    if length > FRAME_LIMIT {
        return Err(FrameError::TooLarge(length));
    }
    let end = 4 + length as usize;
    if buffer.len() < end {
        return Ok(None);
    }
    let message = parse(&buffer[4..end])?;
    buffer.drain(..end);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_wire_in_pieces() {
        let bytes = encode(&vec!["a", "b"]).unwrap();
        let mut buffer = vec![];
        for (i, byte) in bytes.iter().enumerate() {
            assert_eq!(decode::<Vec<String>>(&mut buffer).unwrap(), None, "after {i} bytes");
            buffer.push(*byte);
        }
        assert_eq!(decode::<Vec<String>>(&mut buffer).unwrap(), Some(vec!["a".into(), "b".into()]));
        assert!(buffer.is_empty());
        assert_eq!(read_frame::<Vec<String>>(&mut bytes.as_slice()).unwrap(), ["a", "b"]);
    }

    #[test]
    fn oversized_and_cut_off_frames_are_errors() {
        assert!(matches!(read_frame::<()>(&mut [0xff, 0xff, 0xff, 0xff].as_slice()), Err(FrameError::TooLarge(_))));
        assert!(matches!(read_frame::<()>(&mut [0, 0].as_slice()), Err(FrameError::Io(_))));
        assert!(matches!(read_frame::<()>(&mut [].as_slice()), Err(FrameError::Closed)));
    }
}
