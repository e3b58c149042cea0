"""Files: uploads in chunks, downloads, and their decryption.

What a file is for, and where its name came from, is for others to know.
"""

import asyncio
import base64
import ctypes
import ctypes.util
import hashlib
import math
import os
import re
import time
import urllib.parse
import urllib.request

from gateway import NOT_SUBSCRIBED, Failed, fresh, text_at

MIB = 1_048_576
CHUNK_BYTES = 524_288
LARGEST = {"image": 10 * MIB, "voice": 2 * MIB, "video": 10 * MIB, "file": 20 * MIB}
SMALLEST_BYTES = 5
NAME_BYTES = 256

# An upload begins with so many chunks in flight (UPLOAD-11), and none is sent more often (UPLOAD-4).
CHUNKS_AT_ONCE = 4
TRIES = 3
BUSY = {-1, 6000}


# --- uploads --------------------------------------------------------------------------------------------------------------


async def upload(connection, kind, filename, data):
    """Uploads a file and returns its media_id. Raises Failed where there is none."""
    if not SMALLEST_BYTES <= len(data) <= LARGEST[kind]:
        raise Failed("not-sent", reason=f"a file of {len(data)} bytes is no lawful {kind}")
    count = math.ceil(len(data) / CHUNK_BYTES)
    session = Upload(connection)
    try:
        # The gateway forgets an upload after half an hour.
        async with asyncio.timeout(30 * 60 * connection.durations.second):
            init = {
                "type": kind,
                "filename": shortened(filename),
                "total_size": len(data),
                "total_chunks": count,
                "md5": hashlib.md5(data).hexdigest(),
            }
            upload_id = text_at(await session.ask("aibot_upload_media_init", init), "body", "upload_id")
            if not upload_id:
                raise Failed("failed", reason="the gateway gave no upload_id")
            await session.send_chunks(upload_id, data, count)
            ack = await session.ask("aibot_upload_media_finish", {"upload_id": upload_id})
    except TimeoutError:
        raise Failed("timed-out") from None
    media_id = text_at(ack, "body", "media_id")
    if not media_id:
        raise Failed("failed", reason="the gateway gave no media_id")
    return media_id


class Upload:
    """One upload. It belongs to the bot, not to the socket: after a reconnect it goes on (UPLOAD-5b)."""

    def __init__(self, connection):
        self.connection = connection
        self.limit = CHUNKS_AT_ONCE
        self.flying = 0
        self.landed = asyncio.Condition()

    async def send_chunks(self, upload_id, data, count):
        async def send(index):
            part = data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
            encoded = base64.b64encode(part).decode()
            body = {"upload_id": upload_id, "chunk_index": index, "base64_data": encoded}
            await self.ask("aibot_upload_media_chunk", body, gated=True)

        sending = [asyncio.create_task(send(index)) for index in range(count)]
        try:
            await asyncio.gather(*sending)
        finally:
            for task in sending:
                task.cancel()

    async def ask(self, cmd, body, gated=False):
        """One command of the upload, again where its ack is lost or the gateway is busy. Returns the ack."""
        tries = 0
        while True:
            await self.connection.ready()
            try:
                if gated:
                    return await self._gated(cmd, body)
                return await self._request(cmd, body)
            except Failed as failed:
                if failed.errcode in BUSY:
                    # Fewer at a time (UPLOAD-6).
                    self.limit = max(1, self.limit // 2)
                elif failed.outcome == "refused" and failed.errcode != NOT_SUBSCRIBED:
                    raise
                # What a lost line took along was not the gateway's to see.
                if failed.outcome not in ("connection-lost", "not-sent"):
                    tries += 1
                if tries >= TRIES:
                    raise
                await asyncio.sleep(self.connection.durations.second * max(tries, 0.2))

    async def _gated(self, cmd, body):
        async with self.landed:
            await self.landed.wait_for(lambda: self.flying < self.limit)
            self.flying += 1
        try:
            return await self._request(cmd, body)
        finally:
            async with self.landed:
                self.flying -= 1
                self.landed.notify_all()

    def _request(self, cmd, body):
        return self.connection.request(cmd, fresh("upload"), body, patience=2 * self.connection.durations.ack)


def shortened(filename):
    """A name of 256 bytes at most, cut between characters and before its ending (UPLOAD-10)."""
    if len(filename.encode()) <= NAME_BYTES:
        return filename or "file"
    stem, ending = os.path.splitext(filename)
    ending = ending if len(ending.encode()) <= 32 else ""
    return stem.encode()[: NAME_BYTES - len(ending.encode())].decode(errors="ignore") + ending


# --- downloads ------------------------------------------------------------------------------------------------------------


async def download(url, aeskey, folder, patience):
    """Fetches, decrypts and stores a file. Returns (sha256, filename, path); raises where it can't be had."""
    return await asyncio.to_thread(_download, url, aeskey, folder, patience)


def _download(url, aeskey, folder, patience):
    encrypted, disposition = fetched(url, patience)
    data = decrypted(encrypted, aeskey)
    filename = name_of(disposition)
    path = os.path.join(folder, f"{fresh('media')}-{safe(filename)}")
    with open(path, "xb") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest(), filename, path


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A signed address points at the file. Whoever is led elsewhere may be led inside (MEDIA-7)."""

    def redirect_request(self, *_):
        return None


_opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


def fetched(url, patience):
    """The bytes at an address, and their Content-Disposition."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("the address is not of the web")
    over = time.monotonic() + patience
    with _opener.open(url, timeout=patience) as response:
        data = bytearray()
        while block := response.read1(65_536):
            data += block
            if len(data) > LARGEST["file"] + 64:
                raise ValueError("the file is larger than any may be")
            if time.monotonic() > over:
                raise TimeoutError("the file did not come in time")
        return bytes(data), response.headers.get("Content-Disposition")


def decrypted(data, aeskey):
    """AES-256-CBC: the IV is the beginning of the key, the padding PKCS#7 to 32 bytes. Raises where that is not so."""
    key = base64.b64decode(aeskey.rstrip("=") + "=")
    if len(key) != 32:
        raise ValueError("the key does not have 32 bytes")
    if not data or len(data) % 16 != 0:
        raise ValueError("what came is no ciphertext")
    plain = _aes_256_cbc(data, key, key[:16])
    padding = plain[-1]
    if not 1 <= padding <= 32 or plain[-padding:] != bytes([padding]) * padding:
        raise ValueError("the padding is corrupt")
    return plain[:-padding]


def _aes_256_cbc(data, key, iv):
    """OpenSSL's, which Python itself is linked with for TLS: the standard library has hashes and no ciphers."""
    crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
    crypto.EVP_CIPHER_CTX_new.restype = crypto.EVP_aes_256_cbc.restype = ctypes.c_void_p
    context = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
    plain = ctypes.create_string_buffer(len(data) + 16)
    length = ctypes.c_int()
    try:
        done = (
            crypto.EVP_DecryptInit_ex(context, ctypes.c_void_p(crypto.EVP_aes_256_cbc()), None, key, iv) == 1
            # The padding is the protocol's own.
            and crypto.EVP_CIPHER_CTX_set_padding(context, 0) == 1
            and crypto.EVP_DecryptUpdate(context, plain, ctypes.byref(length), data, len(data)) == 1
        )
    finally:
        crypto.EVP_CIPHER_CTX_free(context)
    if not done or length.value != len(data):
        raise ValueError("it cannot be decrypted")
    return plain.raw[: len(data)]


def name_of(disposition):
    """The name that a Content-Disposition gives, or None. Never an error (MEDIA-3a)."""
    if not disposition:
        return None
    # http.client reads headers as Latin-1; gateways write UTF-8.
    try:
        disposition = disposition.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        pass
    if extended := re.search(r"filename\*\s*=\s*\"?(?:utf-8)?'[^']*'([^;\"]*)", disposition, re.IGNORECASE):
        return urllib.parse.unquote(extended[1].strip()) or None
    if plain := re.search(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))', disposition, re.IGNORECASE):
        # A plus sign is a blank, and what is no valid escape stays as it is (MEDIA-3b).
        return urllib.parse.unquote_plus(plain[1] if plain[1] is not None else plain[2].strip()) or None
    return None


def safe(filename):
    """The last part of a name, without what could lead out of a folder (MEDIA-5)."""
    last = re.split(r"[/\\]", filename or "")[-1]
    kept = "".join(one for one in last if one.isprintable() and one not in '<>:"|?*').strip(". ")
    return shortened(kept)[-100:] if kept else "file"
