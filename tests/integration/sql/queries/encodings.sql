-- Text as digits and back.
CREATE TABLE encodings (auction BIGINT, a VARCHAR, b VARCHAR, c VARCHAR, d VARCHAR, e VARCHAR)
WITH (${sink});

INSERT INTO encodings
SELECT auction, HEX(channel), TO_BASE64(url), FROM_BASE64(TO_BASE64(channel)), URL_ENCODE(url), URL_DECODE(URL_ENCODE(url))
FROM bid;
