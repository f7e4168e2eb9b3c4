CREATE TABLE window_rows_left (person BIGINT, auction BIGINT, endtime TIMESTAMP(3)) WITH (${sink});

INSERT INTO window_rows_left
SELECT P.id, A.id, P.window_end
FROM TABLE(HOP(TABLE person, DESCRIPTOR(`dateTime`), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) P
LEFT JOIN TABLE(HOP(TABLE auction, DESCRIPTOR(`dateTime`), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) A
ON P.id = A.seller AND P.window_end = A.window_end;
