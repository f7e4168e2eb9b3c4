CREATE TABLE union_distinct (id BIGINT) WITH (${sink});

INSERT INTO union_distinct
SELECT seller AS id FROM auction UNION SELECT bidder FROM bid;
