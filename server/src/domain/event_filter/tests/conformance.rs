//! What CEL's conformance tests say, as far as filters have it. Source:
//! <https://github.com/google/cel-spec/tree/master/tests/simple>.

use super::*;

/// Cases as comparisons: true where the test expects that value.
const HOLD: &[&str] = &[
    // comparisons
    "dyn(1) == dyn(1u) && dyn(1u) == dyn(1.0) && dyn(1) != dyn(1.5)",
    "dyn(1) < dyn(2u) && dyn(1u) < dyn(1.1) && dyn(-1) < dyn(0u) && !(dyn(1) < dyn(0.9))",
    "dyn(9223372036854775807) < dyn(9223372036854775808u) && dyn(18446744073709551615u) > dyn(9223372036854775807)",
    "!(dyn(9223372036854775807) < dyn(9223372036854775807.0)) && dyn(9223372036854775807) <= dyn(9223372036854775807.0)",
    "dyn('1') != dyn(1) && dyn(null) != dyn(0) && null == null && dyn([1]) != dyn({'a': 1})",
    "[1, 2u, 3.0] == [1.0, 2, 3u] && [1] != [1, 2] && [] == [] && [[1], [2]] == [[1.0], [2u]]",
    "{'a': 1, 'b': 2u} == {'b': 2, 'a': 1.0} && {1: 'x'} == {1u: 'x'} && {'a': 1} != {'b': 1}",
    "false < true && 'a' < 'b' && 'Abc' < 'aBC' && '' < 'a' && 'a' < 'aa' && 'α' < 'β' && '\\U0001F600' > '\\uFFFF'",
    "!(0.0 / 0.0 == 0.0 / 0.0) && !(0.0 / 0.0 < 1.0) && !(0.0 / 0.0 >= 1.0) && 1.0 / 0.0 > 1.0e300",
    "timestamp('2009-02-13T23:31:30Z') < timestamp('2009-02-13T23:31:30.000000001Z') && duration('60s') == duration('1m')",
    // in
    "1 in [1, 2] && !(0 in [1, 2]) && dyn(1) in [1.0] && dyn(1u) in {1: true} && 'a' in {'a': 1} && !('b' in {'a': 1})",
    "!(1 in []) && [1] in [[1], [2]] && null in [null]",
    // logic
    "(1 / 0 > 2 || true) && (true || 1 / 0 > 2) && !(1 / 0 > 2 && false) && (true ? true : 1 / 0 > 2)",
    // macros
    "[1, 2, 3].exists(e, e > 2) && ![1, 2, 3].exists(e, e > 3) && [1, 'foo', 3].exists(e, e == dyn('foo')) && ![].exists(e, e == 2)",
    "[1, 2, 3].all(e, e > 0) && ![1, 2, 3].all(e, e > 1) && [].all(e, e > 0) && {'k': 1}.all(k, k == 'k')",
    "![1, 2, 3].all(e, 6 / (2 - e) == 6)",
    "[6, 0, 3].exists_one(e, e % 6 == 3) && ![].exists_one(a, a == 7) && !['a', 'al'].exists_one(e, e.startsWith('a'))",
    "[1, 2, 3].map(n, n * 2) == [2, 4, 6] && [1, 2, 3].map(n, n > 1, n * n) == [4, 9] && [].map(n, n / 2) == []",
    "[1, 2, 3].filter(e, e % 2 == 1) == [1, 3] && {'a': 1, 'b': 2}.filter(k, k == 'b') == ['b'] && [[1], []].filter(e, size(e) == 0) == [[]]",
    "['signer'].filter(s, ['artifact'].all(a, true)) == ['signer'] && [1].all(x, [2].all(y, x < y)) && [1].exists(x, [2].exists(x, x == 2))",
    // integers
    "-3 % 2 == -1 && 7 / -2 == -3 && 43 % 5 == 3 && -9223372036854775808 + 1 == -9223372036854775807 && -(-5) == 5 && 2u * 3u == 6u",
    // conversions
    "int(3.9) == 3 && int(-3.9) == -3 && int(1e5) == 100000 && int('-5') == -5 && int(7u) == 7 && int(timestamp('2009-02-13T23:31:30Z')) == 1234567890",
    "uint(3.9) == 3u && uint('300') == 300u && uint(25.5) == 25u && double('1.5') == 1.5 && double(10u) == 10.0",
    "string(true) == 'true' && string(-456) == '-456' && string(9876u) == '9876' && string(123.456) == '123.456' && string('x') == 'x'",
    "string(duration('1000000s')) == '1000000s' && string(timestamp('2009-02-13T23:31:30Z')) == '2009-02-13T23:31:30Z'",
    "bool('true') && bool('1') && bool('t') && !bool('False') && !bool('0')",
    // strings
    "size('four') == 4 && size('') == 0 && size('πέντε') == 5 && size('四') == 1 && 'x'.size() == 1 && size([1, 2]) == 2 && size({}) == 0",
    "'foobar'.startsWith('foo') && 'foobar'.startsWith('') && !''.startsWith('foo') && 'завтра'.startsWith('за') && 'foobar'.endsWith('bar')",
    "'hubba'.matches('ubb') && 'abcd'.matches('^a[bc]+d$') && !'x'.matches('^$') && 'mañana'.matches('a+ñ+a+n+a+') && '🐱😀😀'.matches('(a|😀){2}')",
    "'foo' + 'bar' == 'foobar' && 'he' + '' == 'he' && 'foobar'.contains('ob') && 'foobar'.contains('') && 'Straße'.contains('aß')",
    r"'\x41\101\u0041\U00000041' == 'AAAA' && r'\n' != '\n' && '''a
b''' == 'a\nb'",
    // lists and maps
    "[1] + [2, 3] == [1, 2, 3] && [] + [] == [] && [7, 8, 9][0] == 7 && [7, 8, 9][dyn(1u)] == 8 && [7, 8, 9][dyn(2.0)] == 9",
    "{'a': 1}['a'] == 1 && {'a': 1}.a == 1 && {0: 1}[dyn(0u)] == 1 && has({'a': null}.a) && !has({'a': 1}.b)",
    // timestamps
    "timestamp('2009-02-13T23:00:00Z') + duration('240s') == timestamp('2009-02-13T23:04:00Z')",
    "timestamp('2009-02-13T23:31:00Z') - timestamp('2009-02-13T23:29:00Z') == duration('120s') && duration('600s') + duration('50s') == duration('650s')",
    "timestamp('9999-12-31T23:59:59.999999999Z') > timestamp('0001-01-01T00:00:00Z') && timestamp('2009-02-13T23:31:30+01:00') == timestamp(1234564290)",
    "-duration('1s') == duration('-1s') && duration('1h30m') == duration('90m') && duration('.5s') == duration('500ms') && duration('0') == duration('0s')",
];

/// Cases that give an error.
const FAIL: &[&str] = &[
    "1 / 0 == 1",
    "1 % 0 == 1",
    "2u / 0u == 1u",
    "9223372036854775807 + 1 == 0",
    "-9223372036854775808 - 1 == 0",
    "-(-9223372036854775808) == 0",
    "-9223372036854775808 / -1 == 0",
    "5000000000 * 5000000000 == 0",
    "0u - 1u == 0u",
    "int(1e99) == 0",
    "int(9223372036854775808u) == 0",
    "uint(-1) == 0u",
    "uint(-1.0) == 0u",
    "int('abc') == 0",
    "bool('yes')",
    "{'a': 1}['b'] == 1",
    "{'a': 1}.b == 1",
    "{'a': 1, 'a': 2}.a == 1",
    "{dyn(1.5): 1} == {}",
    "[1][1] == 1",
    "[1][-1] == 1",
    "[1][dyn(0.5)] == 1",
    "dyn(1) < dyn('a')",
    "dyn(null) < dyn(1)",
    "dyn([1]) < dyn([2])",
    "!dyn(0)",
    "dyn(1) ? true : false",
    "dyn(1) && true",
    "[1, 2, 3].all(e, e / 0 != 17)",
    "[1, 'foo', 3].exists_one(e, e > 0)",
    "[2, 1, 0].filter(e, 4 / e > 0) == []",
    "[1, 0].map(e, 4 / e) == []",
    "dyn('a').all(x, true)",
    "timestamp('0000-01-01T00:00:00Z') == timestamp(0)",
    "timestamp('10000-01-01T00:00:00Z') == timestamp(0)",
    "timestamp('9999-12-31T23:59:59Z') + duration('1s') == timestamp(0)",
    "timestamp('0001-01-01T00:00:00Z') - duration('1s') == timestamp(0)",
    "timestamp('2009-02-13 23:31:30Z') == timestamp(0)",
    "timestamp('2009-02-13T23:31:30') == timestamp(0)",
    "duration('1') == duration('0')",
    "duration('1d') == duration('0')",
    "duration('') == duration('0')",
    "duration('320000000000s') == duration('0')",
];

#[test]
fn conformance_cases_hold() {
    for text in HOLD {
        assert_eq!(says(text), Ok(true), "{text}");
    }
}

#[test]
fn conformance_cases_fail() {
    for text in FAIL {
        let outcome = EventFilter::compile(text).map(|filter| evaluate(&filter, &json!({})));
        assert!(!matches!(outcome, Ok(Ok(_))), "{text} gives {outcome:?}");
    }
}
