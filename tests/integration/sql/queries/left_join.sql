CREATE TABLE left_join (name VARCHAR, id BIGINT) WITH (${sink});

INSERT INTO left_join
SELECT P.name, A.id
FROM person AS P LEFT JOIN auction AS A ON P.id = A.seller AND A.category > 11;
