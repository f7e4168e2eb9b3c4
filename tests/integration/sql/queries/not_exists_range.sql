CREATE TABLE not_exists_range (id BIGINT, reserve BIGINT) WITH (${sink});

INSERT INTO not_exists_range
SELECT A.id, A.reserve FROM auction AS A
WHERE NOT EXISTS (SELECT 1 FROM bid AS B WHERE B.auction = A.id AND B.price >= A.reserve);
