-- Digests as text, also as keys of groups.
CREATE TABLE hashes (a VARCHAR, b VARCHAR, c VARCHAR, num BIGINT)
WITH (${sink});

INSERT INTO hashes
SELECT MD5(channel), SHA1(channel), SHA256(channel), count(*) FROM bid
GROUP BY MD5(channel), SHA1(channel), SHA256(channel);
