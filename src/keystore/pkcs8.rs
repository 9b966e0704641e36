//! Encrypted PKCS#8 keys, as PEM files and PKCS12 stores hold them.
//!
//! PBES2 is decrypted in place and wiped. The older ciphers of PKCS12 (3DES, RC2) are left to `p12_keystore`, which does
//! not wipe its own copy of the key; `openssl pkcs8 -topk8 -v2 aes-256-cbc` makes such a key a newer one.

use super::contents::{ITERATIONS_MAX, UNSUPPORTED, WRONG_PASSWORD};
use super::der::{self, Elements};
use super::pkcs12::pfx;
use pkcs5::EncryptionScheme;
use pkcs5::pbes2::{Kdf, Parameters};
use zeroize::Zeroizing;

/// Memory scrypt may use; openssl's default is 16 MB.
const SCRYPT_BYTES_MAX: u64 = 64 << 20;
/// 1.2.840.113549.1.5.13.
const PBES2: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 0x0d];
/// 1.2.840.113549.1.12.1: PBES1 as PKCS12 defines it.
const PKCS12_PBE: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];

/// Decrypts an `EncryptedPrivateKeyInfo` to a `PrivateKeyInfo`.
///
/// # Errors
/// A wrong password, a cipher that is not supported, or damage.
pub fn decrypt(info: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let parts = || {
        let mut info = Elements(info).inside(der::SEQUENCE)?;
        let algorithm = info.element()?;
        let scheme = Elements(algorithm.content).take(der::OID)?;
        Some((algorithm.whole, scheme, info.take(der::OCTETS)?))
    };
    let (algorithm, scheme, sealed) = parts().ok_or("it is no encrypted key")?;
    let key = if scheme == PBES2 {
        pbes2(algorithm, sealed, password)?
    } else if scheme.starts_with(&PKCS12_PBE) {
        pfx::legacy_key(info, password)?
    } else {
        return Err(UNSUPPORTED.to_owned());
    };
    // Padding can be right by chance; the structure of a key cannot.
    let mut fields = Elements(&key).inside(der::SEQUENCE).unwrap_or(Elements(&[]));
    let is_key = fields.number().is_some()
        && fields.take(der::SEQUENCE).is_some()
        && fields.take(der::OCTETS).is_some();
    if is_key { Ok(key) } else { Err(WRONG_PASSWORD.to_owned()) }
}

fn pbes2(algorithm: &[u8], sealed: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let Ok(EncryptionScheme::Pbes2(parameters)) = EncryptionScheme::try_from(algorithm) else {
        return Err(UNSUPPORTED.to_owned());
    };
    check(&parameters)?;
    let mut key = Zeroizing::new(sealed.to_vec());
    let length = match parameters.decrypt_in_place(password, &mut key) {
        Ok(plain) => plain.len(),
        Err(pkcs5::Error::DecryptFailed) => return Err(WRONG_PASSWORD.to_owned()),
        Err(_) => return Err(UNSUPPORTED.to_owned()),
    };
    key.truncate(length);
    Ok(key)
}

/// Parameters that would take minutes or gigabytes are not worth trying, and no scrypt has a cost of zero.
fn check(parameters: &Parameters) -> Result<(), String> {
    let sane = match &parameters.kdf {
        Kdf::Pbkdf2(pbkdf2) => (1..=ITERATIONS_MAX).contains(&pbkdf2.iteration_count),
        Kdf::Scrypt(scrypt) => {
            let bytes = scrypt.cost_parameter.saturating_mul(128 * u64::from(scrypt.block_size));
            (1..=SCRYPT_BYTES_MAX).contains(&bytes) && (1..=16).contains(&scrypt.parallelization)
        }
        _ => false,
    };
    if sane { Ok(()) } else { Err(UNSUPPORTED.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::element;

    /// A key sealed with PBES2, AES-256 and the derivation `kdf` with `parameters`.
    fn sealed(kdf: &[u8], parameters: &[&[u8]]) -> Vec<u8> {
        let kdf = element(der::SEQUENCE, &[&element(der::OID, &[kdf]), &element(der::SEQUENCE, parameters)]);
        let aes = element(der::OID, &[&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 0x2a]]);
        let cipher = element(der::SEQUENCE, &[&aes, &element(der::OCTETS, &[&[0; 16]])]);
        let parameters = element(der::SEQUENCE, &[&kdf, &cipher]);
        let algorithm = element(der::SEQUENCE, &[&element(der::OID, &[&PBES2]), &parameters]);
        element(der::SEQUENCE, &[&algorithm, &element(der::OCTETS, &[&[0; 16]])])
    }

    #[test]
    fn what_would_take_forever_is_not_tried() {
        let salt = element(der::OCTETS, &[&[1; 8]]);
        let number = |octets: &[u8]| element(der::INTEGER, &[octets]);
        let pbkdf2 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 0x0c];
        let scrypt = [0x2b, 6, 1, 4, 1, 0xda, 0x47, 4, 11];
        for (iterations, sentence) in [
            (&[8, 0][..], WRONG_PASSWORD),
            (&[0], UNSUPPORTED),
            (&[0x0f, 0x42, 0x41], UNSUPPORTED),
            (&[0x7f, 0xff, 0xff, 0xff], UNSUPPORTED),
        ] {
            let key = sealed(&pbkdf2, &[&salt, &number(iterations)]);
            assert_eq!(decrypt(&key, "x").map(|_| ()), Err(sentence.to_owned()), "{iterations:?}");
        }
        for (cost, block, parallel, sentence) in [
            (&[0x40, 0][..], 8, 1, WRONG_PASSWORD),
            (&[0], 8, 1, UNSUPPORTED),
            (&[0x40, 1], 8, 1, UNSUPPORTED),
            (&[0x40, 0], 0, 1, UNSUPPORTED),
            (&[0x40, 0], 8, 0, UNSUPPORTED),
            (&[0x40, 0], 8, 17, UNSUPPORTED),
            (&[0x40, 0, 0, 0, 0, 0, 0], 8, 1, UNSUPPORTED),
        ] {
            let key = sealed(&scrypt, &[&salt, &number(cost), &number(&[block]), &number(&[parallel])]);
            assert_eq!(
                decrypt(&key, "x").map(|_| ()),
                Err(sentence.to_owned()),
                "{cost:?} {block} {parallel}"
            );
        }
    }
}
