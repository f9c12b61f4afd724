//! Which coordinates are points that a secret can be agreed on with. Public values only, so nothing here takes care to be constant
//! in time.

use rsa::BoxedUint;

/// Big endian on P-256, little endian on X25519.
pub(super) type Coordinate = [u8; 32];

/// The prime of the field. Source: SP 800-186, section 3.2.1.3.
const P: Coordinate = hex(b"ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
/// The constant of the curve.
const B: Coordinate = hex(b"5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b");

/// Whether y² = x³ - 3x + b. P-256 has cofactor 1: every point but the one at infinity, which has no coordinates, is a good key.
///
/// Source: SP 800-56A revision 3, section 5.6.2.3.3.
pub(super) fn is_on_p256(x: &Coordinate, y: &Coordinate) -> bool {
    let number = |bytes: &Coordinate| BoxedUint::from_be_slice_vartime(bytes);
    if *x >= P || *y >= P {
        return false;
    }
    let Some(p) = number(&P).to_nz().into_option() else { return false };
    let (x, y) = (number(x), number(y));
    // x³ - 3x = x (x² - 3).
    let three = number(&hex(b"0000000000000000000000000000000000000000000000000000000000000003"));
    let right = x.square_mod(&p).sub_mod(&three, &p).mul_mod(&x, &p).add_mod(&number(&B), &p);
    y.square_mod(&p) == right
}

/// Whether whatever is agreed on with this point is zero.
///
/// Source: RFC 7748, section 6.1; D. J. Bernstein, <https://cr.yp.to/ecdh.html#validate>.
pub(super) fn is_low_order_x25519(x: &Coordinate) -> bool {
    const LOW: [Coordinate; 7] = [
        hex(b"0000000000000000000000000000000000000000000000000000000000000000"),
        hex(b"0100000000000000000000000000000000000000000000000000000000000000"),
        hex(b"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        hex(b"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        hex(b"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex(b"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex(b"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ];
    let mut x = *x;
    // The highest bit is no part of the number.
    x[31] &= 0x7f;
    LOW.contains(&x)
}

const fn hex(digits: &[u8; 64]) -> Coordinate {
    const fn value(digit: u8) -> u8 {
        if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 }
    }
    let mut bytes = [0; 32];
    let mut index = 0;
    while index < 32 {
        bytes[index] = value(digits[2 * index]) << 4 | value(digits[2 * index + 1]);
        index += 1;
    }
    bytes
}
